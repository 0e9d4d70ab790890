import { defineConfig } from 'vite';

export default defineConfig({
  root: 'pixels',
  base: '/pixels/',
  // The loader's decoders are module workers that import their WASM.
  worker: { format: 'es' },
  build: { target: 'esnext', emptyOutDir: true, chunkSizeWarningLimit: 4000 },
});
