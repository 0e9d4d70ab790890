/**
 * Upload files as a user would: from the study list, by the dialog. Prints one JSON object.
 *
 * node upload.mjs --url http://127.0.0.1:8080 --files a.dcm,b.dcm [--screenshot upload.png]
 *                 [--timeout 90000]
 */
import { enter, parseArguments, report, visit } from './browser.mjs';

const options = parseArguments({ url: undefined, files: undefined, screenshot: '', ...visit });
const origin = new URL(options.url).origin;
const files = options.files.split(',');

await report(origin, async (page) => {
  const answers = [];
  page.on('response', (response) => {
    if (response.request().method() === 'POST' && response.url().includes('/dicom-web/')) {
      answers.push(response.status());
    }
  });
  await enter(page, `${origin}/`, options);
  await page.getByRole('button', { name: 'Upload', exact: true }).click();
  await page.locator('input[type=file]').first().setInputFiles(files);
  await page.getByText(`${files.length} files completed.`).waitFor();
  if (options.screenshot) {
    await page.screenshot({ path: options.screenshot });
  }
  return { answers };
});
