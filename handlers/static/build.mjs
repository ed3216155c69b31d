// Puts the static files of a deployment into `dist`: those beside this file, and Swagger UI's own that its page names.

import { cp, mkdir, readFile } from 'node:fs/promises';

await mkdir('dist/docs', { recursive: true });
for (const name of ['openapi.json', 'docs.html', '404.json']) await cp(name, `dist/${name}`);
const page = await readFile('docs.html', 'utf8');
for (const [, name] of page.matchAll(/"\/docs\/([^"]+)"/g)) await cp(`node_modules/swagger-ui-dist/${name}`, `dist/docs/${name}`);
