// npm, as the one that runs us.

import { startProcess } from './processes.mjs';

/** Installs what a folder's lockfile says; resolves to whether that worked. npm's own message goes to the terminal. */
export async function installPackages(folder, args = []) {
    // npm names the file of its own program, which spares finding it (and its .cmd on Windows).
    const npm = process.env.npm_execpath ? [process.execPath, process.env.npm_execpath] : ['npm'];
    const install = [...npm, 'ci', '--no-audit', '--no-fund', ...args];
    const { code } = await startProcess(install[0], install.slice(1), { cwd: folder }).exited;
    return code === 0;
}
