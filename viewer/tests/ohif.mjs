/**
 * Look at a study as a radiologist would: open it, see a picture, scroll, or read a document.
 * Prints one JSON object.
 *
 * node ohif.mjs --url http://127.0.0.1:8080 --study <UID> [--mode viewer] [--scroll 0]
 *               [--screenshot viewer.png] [--timeout 90000] [--user ann --password secret]
 *
 * `looks` has one more than --scroll: what was in the viewport, reduced, as a PNG in base64, and
 * the image or the document it is of. With --user, Keycloak has to ask who it is.
 */
import { enter, parseArguments, report, visit } from './browser.mjs';

const options = parseArguments({ url: undefined, study: undefined, mode: 'viewer', scroll: '0', screenshot: '', ...visit });
const origin = new URL(options.url).origin;
const timeout = Number(options.timeout);

const documents = 'object[type="application/pdf"][data]';

/** A canvas or bitmap with at most 320 columns: a PNG, its levels, the share of coloured pixels. Runs in the page. */
function measure(drawable) {
  const canvas = document.createElement('canvas');
  canvas.width = Math.min(320, drawable.width);
  canvas.height = Math.round((drawable.height * canvas.width) / drawable.width);
  const context = canvas.getContext('2d');
  context.drawImage(drawable, 0, 0, canvas.width, canvas.height);
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  const levels = new Set();
  let coloured = 0;
  for (let index = 0; index < data.length; index += 4) {
    const channels = data.subarray(index, index + 3);
    levels.add(channels[1]);
    coloured += Math.max(...channels) - Math.min(...channels) > 64;
  }
  return { png: canvas.toDataURL().split(',')[1], levels: levels.size, coloured: (coloured * 4) / data.length };
}

/** What Cornerstone3D draws, once it is another image than `before`. */
async function lookAtImage(page, before) {
  const found = await page.waitForFunction(
    (last) => {
      const viewports = window.cornerstone?.getRenderingEngines().flatMap((engine) => engine.getViewports()) ?? [];
      const viewport = viewports.find((one) => one.getCurrentImageId?.());
      if (!viewport || viewport.getCurrentImageId() === last.image || viewport.getCanvas().width === 0) {
        return null;
      }
      const look = { image: viewport.getCurrentImageId(), ...window.measure(viewport.getCanvas()) };
      return look.levels > 16 && look.png !== last.png ? look : null;
    },
    before,
    { timeout, polling: 200 }
  );
  return found.jsonValue();
}

/** What the browser's own reader draws, once a tenth of it is coloured (buttons are less), and what it was given. */
async function lookAtDocument(page) {
  const viewport = page.locator(documents);
  const document = await viewport.evaluate(async (element) => {
    const address = element.getAttribute('data');
    const blob = await (await fetch(address)).blob();
    return { address, type: blob.type, bytes: [...new Uint8Array(await blob.arrayBuffer())] };
  });
  const until = Date.now() + timeout;
  let look;
  do {
    const screenshot = await viewport.screenshot();
    look = await page.evaluate(
      async (bytes) => window.measure(await createImageBitmap(new Blob([new Uint8Array(bytes)]))),
      [...screenshot]
    );
  } while (look.coloured < 0.1 && Date.now() < until);
  return { ...look, ...document, bytes: Buffer.from(document.bytes).toString('base64') };
}

await report(origin, async (page) => {
  await page.addInitScript(`window.measure = ${measure}`);
  const askedAt = await enter(page, `${origin}/${options.mode}?StudyInstanceUIDs=${options.study}`, options);
  await page.locator(`canvas.cornerstone-canvas, ${documents}`).first().waitFor();
  const looks = [];
  if ((await page.locator(documents).count()) > 0) {
    looks.push(await lookAtDocument(page));
  } else {
    looks.push(await lookAtImage(page, {}));
    await page.locator('canvas.cornerstone-canvas').first().hover();
    while (looks.length <= Number(options.scroll)) {
      await page.mouse.wheel(0, 120);
      looks.push(await lookAtImage(page, looks.at(-1)));
    }
  }
  if (options.screenshot) {
    await page.screenshot({ path: options.screenshot });
  }
  return { askedAt, looks, crossOriginIsolated: await page.evaluate(() => window.crossOriginIsolated) };
});
