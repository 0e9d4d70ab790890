/**
 * Make dist/: OHIF's own build with our configuration at /, the pixel-truth
 * page at /pixels/. Does nothing when no input has changed.
 *
 * OHIF is not in dependencies: the package declares packages that were never
 * published in that version, so npm cannot install it, and its prebuilt dist/
 * needs none of them. npm fetches the tarball (through its cache), and
 * package.json pins its digest as the lock file does for the others.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { copyFile, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { constants, gzip } from 'node:zlib';

const here = dirname(fileURLToPath(import.meta.url));
const finished = join(here, 'dist');
const work = join(here, 'dist.tmp');
const { ohif } = JSON.parse(readFileSync(join(here, 'package.json'), 'utf8'));

// ort/ (136 MB) is a neural segmentation runtime whose models come from a public
// site, so its tools are off (app-config.js) and it stays out; the rest of
// the list is for other hosts, other configurations and debuggers.
const leftOut = ['ort', 'customizations', '_headers', '_redirects', 'serve.json', 'google.js', 'sw.js'];

const compressible = /\.(css|html|js|json|mjs|svg|wasm)$/;

function inputs() {
  const folder = (name) => readdirSync(join(here, name)).map((file) => join(name, file));
  return ['app-config.js', 'build.mjs', 'package.json', 'package-lock.json', 'vite.config.js', ...folder('pixels')];
}

function fingerprint() {
  const hash = createHash('sha256');
  for (const file of inputs().sort()) {
    hash.update(`${file}\0`).update(readFileSync(join(here, file))).update('\0');
  }
  return hash.digest('hex');
}

function fetchOhif() {
  const cache = join(here, 'node_modules', '.cache');
  mkdirSync(cache, { recursive: true });
  const name = `${ohif.package}@${ohif.version}`;
  const tarball = join(cache, `${ohif.package.replace('@', '').replace('/', '-')}-${ohif.version}.tgz`);
  if (!existsSync(tarball)) {
    console.log(`fetching ${name}`);
    execFileSync('npm', ['pack', name, '--pack-destination', cache, '--prefer-offline', '--silent'], {
      cwd: here,
      stdio: ['ignore', 'ignore', 'inherit'],
    });
  }
  const digest = `sha512-${createHash('sha512').update(readFileSync(tarball)).digest('base64')}`;
  if (digest !== ohif.integrity) {
    rmSync(tarball);
    throw new Error(`${name}: digest ${digest} is not the one pinned in package.json. The file was removed; build again, and if it stays so do not use the package.`);
  }
  return tarball;
}

function unpackOhif(tarball) {
  const excludes = leftOut.map((name) => `--exclude=package/dist/${name}`);
  execFileSync('tar', ['-xzf', tarball, '-C', work, '--strip-components=2', '--no-same-owner',
    '--exclude=*.map', ...excludes, 'package/dist']);
}

/**
 * Rename the page, move its inline scripts to files (our CSP allows no inline script), and
 * have it ask nginx how to sign in before its configuration is read.
 */
async function rewriteIndex() {
  const path = join(work, 'index.html');
  let html = await readFile(path, 'utf8');
  const scripts = [];
  html = html.replace(/<script>([\s\S]*?)<\/script>/g, (_, code) => {
    const name = `inline-${createHash('sha256').update(code).digest('hex').slice(0, 16)}.js`;
    scripts.push(writeFile(join(work, name), code));
    return `<script src="/${name}"></script>`;
  });
  html = html
    .replace('<title>OHIF Viewer</title>', '<title>Pacsless</title>')
    .replace('content="OHIF Viewer"', 'content="Pacsless"')
    .replace(/<link rel="manifest"[^>]*>/, '')
    .replace(/(<script[^>]* src="\/app-config\.js">)/, '<script src="/oidc.js"></script>$1');
  if (scripts.length === 0 || !html.includes('/oidc.js') || !html.includes('<title>Pacsless</title>')) {
    throw new Error(`index.html of ${ohif.package}@${ohif.version} is not as expected: adapt rewriteIndex()`);
  }
  await Promise.all([...scripts, writeFile(path, html)]);
}

/** nginx sends these files (gzip_static) instead of compressing 17 MB per visit. */
async function precompress() {
  const compress = promisify(gzip);
  const files = readdirSync(work, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && compressible.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name));
  const next = files.values();
  const worker = async () => {
    for (const file of next) {
      const data = await readFile(file);
      if (data.length > 1024) {
        await writeFile(`${file}.gz`, await compress(data, { level: constants.Z_DEFAULT_COMPRESSION }));
      }
    }
  };
  await Promise.all(Array.from({ length: 4 }, worker));
}

const stamp = fingerprint();
const stampFile = join(finished, '.built');
if (existsSync(stampFile) && readFileSync(stampFile, 'utf8') === stamp) {
  console.log('viewer: dist/ is up to date');
  process.exit(0);
}

const tarball = fetchOhif();
rmSync(work, { recursive: true, force: true });
mkdirSync(work);
unpackOhif(tarball);
await copyFile(join(here, 'app-config.js'), join(work, 'app-config.js'));
await rewriteIndex();
const { build } = await import('vite');
await build({
  configFile: join(here, 'vite.config.js'),
  root: join(here, 'pixels'),
  logLevel: 'error',
  build: { outDir: join(work, 'pixels') },
});
await precompress();
await writeFile(join(work, '.built'), stamp);
rmSync(finished, { recursive: true, force: true });
await rename(work, finished);
console.log(`viewer: dist/ holds OHIF ${ohif.version} and the pixel-truth page`);
