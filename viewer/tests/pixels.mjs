/**
 * Values Cornerstone3D decodes. Reads a JSON list of
 * {study, series, instance, frame, loader} from standard input, prints one JSON object
 * whose `images` are what window.loadPixels answered, or {error}.
 *
 * node pixels.mjs --url http://127.0.0.1:8080 [--timeout 60000] < wanted.json
 */
import { text } from 'node:stream/consumers';
import { parseArguments, report } from './browser.mjs';

const options = parseArguments({ url: undefined, timeout: '60000' });
const origin = new URL(options.url).origin;
const timeout = Number(options.timeout);
const wanted = JSON.parse(await text(process.stdin));

await report(origin, async (page) => {
  await page.goto(`${origin}/pixels/`, { timeout });
  await page.waitForFunction(() => typeof window.loadPixels === 'function', null, { timeout });
  const images = [];
  for (const one of wanted) {
    images.push(
      await page.evaluate(
        async ([{ study, series, instance, frame, loader }, limit]) => {
          // Some hostile frames never settle in the loader.
          const tooLate = new Promise((_, reject) =>
            setTimeout(() => reject(new Error(`not decoded within ${limit} ms`)), limit)
          );
          try {
            const loading = window.loadPixels(study, series, instance, frame, undefined, loader);
            return await Promise.race([loading, tooLate]);
          } catch (error) {
            return { error: String(error?.message ?? error?.error?.message ?? JSON.stringify(error)) };
          }
        },
        [one, timeout]
      )
    );
  }
  return { images };
});
