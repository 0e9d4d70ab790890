/**
 * Pixel truth: the values a viewer really sees. Frames are fetched and decoded
 * by the image loader OHIF is built on, so comparing them with the stored
 * object finds what a server's own tests cannot: a wrong part header, a
 * boundary inside the pixels, a transfer syntax the loader decodes wrongly.
 */
import { imageLoader, init as initCore } from '@cornerstonejs/core';
import { init as initLoader } from '@cornerstonejs/dicom-image-loader';
import { utilities } from '@cornerstonejs/metadata';

await initCore();
initLoader({ maxWebWorkers: 1 });

const registered = new Set();

async function registerMetadata(instanceUrl, imageId) {
  if (registered.has(instanceUrl)) {
    return;
  }
  const response = await fetch(`${instanceUrl}/metadata`, {
    headers: { Accept: 'application/dicom+json' },
  });
  if (!response.ok) {
    throw new Error(`metadata answered ${response.status}: ${await response.text()}`);
  }
  const [instance] = await response.json();
  await utilities.addDicomWebInstance(imageId, instance);
  registered.add(instanceUrl);
}

function base64(view) {
  const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  // String.fromCharCode takes its bytes as arguments; more than about 64 k overflow the stack.
  const pieces = [];
  for (let start = 0; start < bytes.length; start += 0x8000) {
    pieces.push(String.fromCharCode(...bytes.subarray(start, start + 0x8000)));
  }
  return btoa(pieces.join(''));
}

/** The address of an instance for WADO-URI; the loader takes the frame off before it asks. */
function wadoUri(study, series, instance, frame, root) {
  const query = new URLSearchParams({
    requestType: 'WADO',
    studyUID: study,
    seriesUID: series,
    objectUID: instance,
    contentType: 'application/dicom',
  });
  return `wadouri:${new URL(`${root.replace('/dicom-web', '')}/wado?${query}`, location.origin)}&frame=${frame}`;
}

/**
 * Decode one frame as the viewer does, without the Modality LUT, by the loader
 * `wadors` or `wadouri`.
 *
 * Returns rows, columns, samples per pixel, the transfer syntax of the frame as
 * served, min and max, the type of the array (Int16Array, ...) and its bytes
 * (`data`, base64, little endian).
 */
async function loadPixels(
  study, series, instance, frame = 1, root = '/dicom-web', loader = 'wadors'
) {
  const instanceUrl = new URL(
    `${root}/studies/${study}/series/${series}/instances/${instance}`,
    location.origin
  ).href;
  let imageId = `wadors:${instanceUrl}/frames/${frame}`;
  if (loader === 'wadouri') {
    imageId = wadoUri(study, series, instance, frame, root); // its file is its metadata
  } else {
    await registerMetadata(instanceUrl, imageId);
  }
  const image = await imageLoader.loadImage(imageId, {
    preScale: { enabled: false },
    useRGBA: false,
  });
  const values = image.getPixelData();
  let min = Infinity;
  let max = -Infinity;
  for (const value of values) {
    min = Math.min(min, value);
    max = Math.max(max, value);
  }
  return {
    rows: image.rows,
    columns: image.columns,
    samplesPerPixel: image.numberOfComponents,
    transferSyntax: image.transferSyntaxUID,
    min,
    max,
    type: values.constructor.name,
    data: base64(values),
  };
}

window.loadPixels = loadPixels;

const query = new URLSearchParams(location.search);
if (query.has('instance')) {
  const { data, ...summary } = await loadPixels(
    query.get('study'),
    query.get('series'),
    query.get('instance'),
    Number(query.get('frame') ?? 1)
  );
  document.getElementById('result').textContent = JSON.stringify(summary, null, 2);
}
