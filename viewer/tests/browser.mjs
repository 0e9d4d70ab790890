/** Start Chromium, and watch what pages ask for. */
import { chromium } from 'playwright-core';

const flags = [
  '--no-sandbox',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  // WebGL without a graphics card.
  '--ignore-gpu-blocklist',
  '--use-gl=angle',
  '--use-angle=swiftshader',
  '--enable-unsafe-swiftshader',
];

/** Read `--name value` arguments; `spec` holds the defaults, undefined marks a required one. */
export function parseArguments(spec) {
  const values = { ...spec };
  const given = process.argv.slice(2);
  for (let index = 0; index < given.length; index += 2) {
    const name = given[index].replace(/^--/, '');
    if (!(name in spec) || given[index + 1] === undefined) {
      throw new Error(`unknown or incomplete argument ${given[index]}; known: ${Object.keys(spec).join(', ')}`);
    }
    values[name] = given[index + 1];
  }
  const missing = Object.keys(values).filter((name) => values[name] === undefined);
  if (missing.length > 0) {
    throw new Error(`missing argument: ${missing.map((name) => `--${name}`).join(', ')}`);
  }
  return values;
}

/**
 * Open a page whose traffic is recorded: `failures` holds every response ≥ 400
 * and every request that got none, `foreign` every request to another origin,
 * `errors` every uncaught exception and violation of the content security policy.
 */
export async function openWatchedPage(origin) {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: flags,
  });
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  const traffic = { failures: [], foreign: [], errors: [], requests: 0 };
  context.on('request', (request) => {
    traffic.requests += 1;
    const { protocol, origin: target } = new URL(request.url());
    if (['http:', 'https:', 'ws:', 'wss:'].includes(protocol) && target !== origin) {
      traffic.foreign.push(request.url());
    }
  });
  context.on('response', (response) => {
    if (response.status() >= 400) {
      traffic.failures.push(`${response.status()} ${response.request().method()} ${response.url()}`);
    }
  });
  context.on('requestfailed', (request) => {
    // A viewer that moves on aborts what it no longer needs.
    const reason = request.failure()?.errorText;
    if (reason !== 'net::ERR_ABORTED') {
      traffic.failures.push(`${reason} ${request.method()} ${request.url()}`);
    }
  });
  context.on('weberror', (error) => traffic.errors.push(String(error.error())));
  const page = await context.newPage();
  page.on('console', (message) => {
    if (/Content Security Policy/.test(message.text())) {
      traffic.errors.push(message.text());
    }
  });
  return { browser, page, traffic };
}

/** Arguments of `enter`. */
export const visit = { timeout: '90000', user: '', password: '' };

/**
 * Open an address of OHIF as a new visitor: sign in if there is a `user`, and confirm that this is
 * no medical device. Returns the origin that asked who it is.
 */
export async function enter(page, address, { timeout, user, password }) {
  page.setDefaultTimeout(Number(timeout));
  await page.goto(address);
  let askedAt = '';
  if (user) {
    await page.locator('#username').fill(user);
    askedAt = new URL(page.url()).origin;
    await page.locator('#password').fill(password);
    await page.locator('#kc-login').click();
  }
  await page.getByRole('button', { name: /confirm and hide/i }).click();
  return askedAt;
}

/** Run `work`, print its result as one line of JSON, and leave with 1 if it failed. */
export async function report(origin, work) {
  const { browser, page, traffic } = await openWatchedPage(origin);
  try {
    const result = await work(page);
    console.log(JSON.stringify({ ok: true, ...result, ...traffic }));
  } catch (error) {
    console.log(JSON.stringify({ ok: false, error: String(error), at: page.url(), ...traffic }));
    process.exitCode = 1;
  } finally {
    await browser.close();
  }
}
