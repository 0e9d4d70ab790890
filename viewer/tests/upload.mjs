/**
 * Upload files as a user would: from the study list, by the dialog, until the
 * study is in the list. Prints one JSON object.
 *
 * node upload.mjs --url http://127.0.0.1:8080 --files a.dcm,b.dcm --patient <family name>
 *                 [--picture upload.png] [--timeout 90000]
 */
import { parseArguments, report } from './browser.mjs';

const options = parseArguments({ url: undefined, files: undefined, patient: undefined, picture: '', timeout: '90000' });
const origin = new URL(options.url).origin;
const timeout = Number(options.timeout);
const files = options.files.split(',');

await report(origin, async (page) => {
  const answers = [];
  page.on('response', async (response) => {
    if (response.request().method() === 'POST' && response.url().includes('/dicom-web/')) {
      answers.push(response.status());
    }
  });
  await page.goto(`${origin}/`, { timeout });
  const confirm = page.getByRole('button', { name: /confirm and hide/i });
  await confirm.waitFor({ timeout });
  await confirm.click();
  await page.getByRole('button', { name: 'Upload', exact: true }).click({ timeout });
  await page.locator('input[type=file]').first().setInputFiles(files, { timeout });
  await page.getByText(`${files.length} files completed.`).waitFor({ timeout });
  const dialog = await page.getByRole('dialog').innerText();
  if (options.picture) {
    await page.screenshot({ path: options.picture });
  }
  const studies = page.locator('tbody tr').filter({ hasNot: page.locator('input') });
  const row = studies.filter({ hasText: options.patient }).first();
  // The index is a moment behind the archive: ask again until it has the study.
  const until = Date.now() + timeout;
  do {
    await page.goto(`${origin}/?patientName=${options.patient}`, { timeout });
    await row.waitFor({ timeout: 5000 }).catch(() => {});
  } while ((await row.count()) === 0 && Date.now() < until);
  return { answers, dialog, rowText: (await row.innerText()).replace(/\s+/g, ' ').trim() };
});
