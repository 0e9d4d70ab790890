/**
 * Store, search and retrieve with npm's dicomweb-client, in a page of this origin. Reads JSON from
 * standard input, {files: [base64…], study, series, instance, frames: [1…], bulk: "00420011"}: the
 * files are of one series, `instance` is one of them. Prints one JSON object with the answers;
 * what is binary is in base64.
 *
 * node dicomweb-client.mjs --url http://127.0.0.1:8080 [--timeout 60000] < wanted.json
 */
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { text } from 'node:stream/consumers';
import { parseArguments, report } from './browser.mjs';

const options = parseArguments({ url: undefined, timeout: '60000' });
const origin = new URL(options.url).origin;
const timeout = Number(options.timeout);
const wanted = JSON.parse(await text(process.stdin));
const library = await readFile(createRequire(import.meta.url).resolve('dicomweb-client'), 'utf8');

await report(origin, async (page) => {
  await page.goto(`${origin}/pixels/`, { timeout });
  await page.evaluate(library); // sets window.DICOMwebClient
  return page.evaluate(
    async ([{ files, study, series, instance, frames, bulk }, limit]) => {
      const encode = (buffer) => {
        let binary = '';
        new Uint8Array(buffer).forEach((byte) => (binary += String.fromCharCode(byte)));
        return btoa(binary);
      };
      const decode = (base64) => Uint8Array.from(atob(base64), (one) => one.charCodeAt(0)).buffer;
      const client = new DICOMwebClient.api.DICOMwebClient({ url: `${location.origin}/dicom-web` });
      const mediaTypes = [{ mediaType: 'image/png' }];
      const ofStudy = { studyInstanceUID: study };
      const ofSeries = { ...ofStudy, seriesInstanceUID: series };
      const ofInstance = { ...ofSeries, sopInstanceUID: instance };

      const outcome = await client.storeInstances({ datasets: files.map(decode) });
      // The index is a moment behind the archive: ask again until it has them all.
      const until = Date.now() + limit;
      let instances;
      do {
        instances = (await client.searchForInstances(ofSeries)) ?? [];
      } while (instances.length < files.length && Date.now() < until);
      const metadata = await client.retrieveInstanceMetadata(ofInstance);
      return {
        outcome,
        searched: {
          studies: await client.searchForStudies({ queryParams: { StudyInstanceUID: study } }),
          series: await client.searchForSeries(ofStudy),
          instances,
        },
        metadata: {
          study: await client.retrieveStudyMetadata(ofStudy),
          series: await client.retrieveSeriesMetadata(ofSeries),
          instance: metadata,
        },
        retrieved: {
          study: (await client.retrieveStudy(ofStudy)).map(encode),
          series: (await client.retrieveSeries(ofSeries)).map(encode),
          instance: encode(await client.retrieveInstance(ofInstance)),
        },
        frames: (await client.retrieveInstanceFrames({ ...ofInstance, frameNumbers: frames })).map(encode),
        bulk: (await client.retrieveBulkData({ BulkDataURI: metadata[0][bulk].BulkDataURI })).map(encode),
        rendered: [
          ...(await client.retrieveInstanceRendered({ ...ofInstance, mediaTypes })),
          ...(await client.retrieveInstanceFramesRendered({
            ...ofInstance,
            frameNumbers: [frames.at(-1)],
            mediaTypes,
          })),
        ].map(encode),
      };
    },
    [wanted, timeout]
  );
});
