/**
 * Look at a study as a radiologist would: find it in the study list, open it,
 * see a picture, scroll, change to the segmentation mode. Prints one JSON object.
 *
 * node ohif.mjs --url http://127.0.0.1:8080 --study <UID> [--patient <family name>]
 *               [--list list.png] [--viewer viewer.png] [--timeout 90000]
 *               [--user ann --password secret]
 *
 * With --patient the list is filtered by it, and its row waited for. With --user, Keycloak
 * has to ask who it is before anything is shown.
 */
import { parseArguments, report } from './browser.mjs';

const options = parseArguments({ url: undefined, study: undefined, patient: '', list: '', viewer: '', timeout: '90000', user: '', password: '' });
const origin = new URL(options.url).origin;
const timeout = Number(options.timeout);

/** Grey levels and checksum of the largest canvas, reduced to 64×64. Runs in the page. */
function sampleViewport() {
  const canvases = [...document.querySelectorAll('.cornerstone-canvas, .viewport-element canvas')];
  const largest = canvases.sort((a, b) => b.width * b.height - a.width * a.height)[0];
  if (!largest || largest.width === 0) {
    return { levels: 0, checksum: 0 };
  }
  const small = new OffscreenCanvas(64, 64).getContext('2d');
  small.drawImage(largest, 0, 0, 64, 64);
  const { data } = small.getImageData(0, 0, 64, 64);
  const levels = new Set();
  let checksum = 0;
  for (let index = 0; index < data.length; index += 4) {
    levels.add(data[index]);
    checksum = (checksum * 31 + data[index]) % 4294967291;
  }
  return { levels: levels.size, checksum };
}

async function waitForPicture(page, differentFrom) {
  const handle = await page.waitForFunction(
    (before) => {
      const now = window.sampleViewport();
      return now.levels > 16 && now.checksum !== before ? now : null;
    },
    differentFrom,
    { timeout, polling: 200 }
  );
  return handle.jsonValue();
}

await report(origin, async (page) => {
  await page.addInitScript(`window.sampleViewport = ${sampleViewport}`);
  await page.goto(`${origin}/`, { timeout });
  let askedAt = '';
  if (options.user) {
    await page.locator('#username').fill(options.user, { timeout });
    askedAt = new URL(page.url()).origin;
    await page.locator('#password').fill(options.password);
    await page.locator('#kc-login').click();
  }
  const studies = page.locator('tbody tr').filter({ hasNot: page.locator('input') });
  await studies.first().waitFor({ timeout });
  if (options.patient) {
    await page.locator('tbody tr input').first().fill(options.patient);
  }
  const row = studies.filter({ hasText: options.patient }).first();
  await row.waitFor({ timeout });
  const rowText = (await row.innerText()).replace(/\s+/g, ' ').trim();
  const rows = await studies.count();
  const title = await page.title();
  if (options.list) {
    await page.screenshot({ path: options.list });
  }

  const started = Date.now();
  await page.goto(`${origin}/viewer?StudyInstanceUIDs=${options.study}`, { timeout });
  const first = await waitForPicture(page, 0);
  const firstPictureMs = Date.now() - started;
  const confirm = page.getByRole('button', { name: /confirm/i });
  if ((await confirm.count()) > 0) {
    await confirm.first().click();
  }

  await page.locator('.viewport-element canvas, .cornerstone-canvas').first().hover();
  for (let notch = 0; notch < 5; notch += 1) {
    await page.mouse.wheel(0, 120);
  }
  const scrolled = await waitForPicture(page, first.checksum);
  if (options.viewer) {
    await page.screenshot({ path: options.viewer });
  }
  // Its tool bar is the one app-config.js changes.
  await page.goto(`${origin}/segmentation?StudyInstanceUIDs=${options.study}`, { timeout });
  const segmentation = await waitForPicture(page, 0);
  return {
    askedAt,
    title,
    rows,
    rowText,
    firstPictureMs,
    greyLevels: first.levels,
    greyLevelsScrolled: scrolled.levels,
    greyLevelsSegmentation: segmentation.levels,
    crossOriginIsolated: await page.evaluate(() => window.crossOriginIsolated),
  };
});
