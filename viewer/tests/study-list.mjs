/**
 * Search the study list for a patient, and turn its pages until the last. Prints one JSON object.
 *
 * node study-list.mjs --url http://127.0.0.1:8080 --patient <family name> [--studies 1]
 *                     [--screenshot list.png] [--timeout 90000] [--user ann --password secret]
 *
 * --studies is how many the patient has. With --user, Keycloak has to ask who it is.
 */
import { enter, parseArguments, report, visit } from './browser.mjs';

const options = parseArguments({ url: undefined, patient: undefined, studies: '1', screenshot: '', ...visit });
const origin = new URL(options.url).origin;

await report(origin, async (page) => {
  const askedAt = await enter(page, `${origin}/`, options);
  await page.locator('tbody tr input').first().fill(options.patient);
  const studies = page.locator('tbody tr').filter({ hasNot: page.locator('input') });
  const next = page.getByLabel('Next page');
  const pages = [];
  const readPage = async () => {
    const first = pages.reduce((sum, one) => sum + one.length, 1);
    const range = new RegExp(`^${first}-\\d+ of ${options.studies}$`);
    await page.getByLabel('Rows per page').filter({ hasText: range }).waitFor();
    pages.push((await studies.allInnerTexts()).map((text) => text.replace(/\s+/g, ' ').trim()));
  };
  await readPage();
  if (options.screenshot) {
    await page.screenshot({ path: options.screenshot });
  }
  while (await next.isEnabled()) {
    await next.click();
    await readPage();
  }
  return { askedAt, title: await page.title(), pages };
});
