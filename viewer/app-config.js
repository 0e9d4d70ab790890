/**
 * Configuration of OHIF in Pacsless. It replaces OHIF's own, which points at a
 * public demonstration server. Nothing here names a host: the viewer, DICOMweb
 * and this file share one origin.
 */
(() => {
  // These fetch a model or a program from a public site when they are first used,
  // and the viewer makes no call to the outside.
  const toolsNeedingTheInternet = ['MarkerLabelmap', 'LabelmapSlicePropagation', 'InterpolateLabelmap'];
  const withoutThose = (ids) => ids.filter((id) => !toolsNeedingTheInternet.includes(id));

  const logo = (React) =>
    React.createElement('span', { className: 'text-foreground text-xl font-semibold' }, 'Pacsless');

  window.config = {
    name: 'pacsless',
    routerBasename: null,
    // At whom, if at all, nginx says (/oidc.js). Authorization code with PKCE, renewed by refresh token.
    oidc: window.oidc && [{ ...window.oidc, response_type: 'code', redirect_uri: '/callback' }],
    extensions: [],
    modes: [],
    showStudyList: true,
    whiteLabeling: { createLogoComponentFn: logo },
    customizationService: {
      // A guided tour over the first images is in the way on a shared workstation.
      'ohif.tours': { $set: [] },
      'cornerstone.segmentationToolbarButtons': {
        $apply: (buttons) => buttons.filter(({ id }) => !toolsNeedingTheInternet.includes(id)),
      },
      'cornerstone.segmentationToolbarSections': {
        LabelMapTools: { $apply: withoutThose },
        LabelMapUtilities: { $apply: withoutThose },
      },
    },
    // OHIF is not a cleared medical device; say so once a quarter, not at every visit.
    investigationalUseDialog: { option: 'configure', days: 90 },
    maxNumberOfWebWorkers: 3,
    maxNumRequests: { interaction: 100, thumbnail: 5, prefetch: 25 },
    showWarningMessageForCrossOrigin: true,
    showCPUFallbackMessage: true,
    showLoadingIndicator: true,
    showErrorDetails: 'dev',
    strictZSpacingForVolumeViewport: true,
    groupEnabledModesFirst: true,
    defaultDataSourceName: 'pacsless',
    dataSources: [
      {
        namespace: '@ohif/extension-default.dataSourcesModule.dicomweb',
        sourceName: 'pacsless',
        configuration: {
          friendlyName: 'Pacsless',
          name: 'pacsless',
          qidoRoot: '/dicom-web',
          wadoRoot: '/dicom-web',
          wadoUriRoot: '/wado',
          qidoSupportsIncludeField: true,
          imageRendering: 'wadors',
          thumbnailRendering: 'thumbnail',
          thumbnailRequestStrategy: 'fetch',
          enableStudyLazyLoad: true,
          supportsFuzzyMatching: true,
          supportsWildcard: true,
          // The study list pages through what one search returns, and says nothing of what is beyond it.
          queryLimit: 500,
          dicomUploadEnabled: true,
          singlepart: 'bulkdata,video,pdf',
          // Metadata holds addresses from the root of the site, which OHIF uses as they are.
          bulkDataURI: { enabled: true },
          omitQuotationForMultipartRequest: true,
        },
      },
    ],
    httpErrorHandler: (error) => {
      console.warn(`the archive answered ${error.status}`);
    },
  };
})();
