// A headless Chromium that opens pages from disk with the network off, and says what they asked for and complained of.
//
// It speaks the DevTools protocol over a pipe: a handful of commands need no library of several megabytes, and a pipe
// needs no port.

import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';

import { startProcess } from './processes.mjs';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];
const ANSWER_MS = 20_000;

/** The Chromium of `CHROMIUM`, or the first on the path; null where there is none. */
export function findChromium() {
    if (process.env.CHROMIUM) return process.env.CHROMIUM;
    const folders = (process.env.PATH ?? '').split(delimiter);
    return NAMES.flatMap((name) => folders.map((folder) => join(folder, name))).find(existsSync) ?? null;
}

/** Starts it with a profile of its own. `close()` ends it and removes the profile. */
export async function startChromium(program) {
    const profile = await mkdtemp(join(tmpdir(), 'stockhold-chromium-'));
    const { child, exited, stop } = startProcess(
        program,
        [
            '--headless',
            '--remote-debugging-pipe',
            `--user-data-dir=${profile}`,
            '--no-first-run',
            '--disable-gpu',
            '--disable-quic',
            '--disable-background-networking',
            '--disable-component-update',
            '--disable-sync',
            '--host-resolver-rules=MAP * ~NOTFOUND',
            '--hide-scrollbars',
            // Its sandbox refuses to work for root, as which containers run.
            ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []),
        ],
        { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] },
    );
    const browser = connect(child, exited);
    return {
        openPage: (options) => openPage(browser, options),
        async close() {
            await browser.send('Browser.close').catch(() => {});
            await stop();
            await rm(profile, { recursive: true, force: true, maxRetries: 5 });
        },
    };
}

// Messages of JSON, each ended by a zero byte: commands go to descriptor 3, answers and events come from 4.
function connect(child, exited) {
    const [, , , commands, answers] = child.stdio;
    const waiting = new Map();
    const listeners = new Set();
    let number = 0;
    let rest = '';
    commands.on('error', () => {});
    answers.setEncoding('utf8').on('data', (chunk) => {
        const messages = (rest + chunk).split('\0');
        rest = messages.pop();
        for (const message of messages.map((text) => JSON.parse(text))) {
            if (!message.id) for (const listener of listeners) listener(message);
            const { resolve, reject } = waiting.get(message.id) ?? {};
            waiting.delete(message.id);
            if (message.error) reject?.(new Error(message.error.message));
            else resolve?.(message.result);
        }
    });
    const gone = exited.then(({ code, signal }) => {
        for (const { reject } of waiting.values()) reject(new Error(`Chromium ended (${signal ?? code}).`));
    });
    gone.catch((error) => waiting.forEach(({ reject }) => reject(error)));
    return {
        listeners,
        send(method, params = {}, sessionId) {
            number += 1;
            const id = number;
            return new Promise((resolve, reject) => {
                const timer = setTimeout(() => reject(new Error(`Chromium does not answer ${method}.`)), ANSWER_MS);
                const settle = (settled) => (value) => {
                    clearTimeout(timer);
                    settled(value);
                };
                waiting.set(id, { resolve: settle(resolve), reject: settle(reject) });
                commands.write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
            });
        },
    };
}

/** Opens a page and resolves when it is loaded. */
async function openPage(browser, { url, width, height = 900, scheme = 'light' }) {
    const { targetId } = await browser.send('Target.createTarget', { url: 'about:blank' });
    const { sessionId } = await browser.send('Target.attachToTarget', { targetId, flatten: true });
    const send = (method, params) => browser.send(method, params, sessionId);
    const [requests, complaints] = [[], []];
    let loaded;
    const load = new Promise((resolve) => (loaded = resolve));
    const listener = ({ method, params, sessionId: from }) => {
        if (from !== sessionId) return;
        if (method === 'Network.requestWillBeSent') requests.push(params.request.url);
        if (method === 'Runtime.exceptionThrown') complaints.push(params.exceptionDetails.exception?.description);
        if (method === 'Runtime.consoleAPICalled') complaints.push(params.args.map(({ value }) => value).join(' '));
        if (method === 'Log.entryAdded') complaints.push(params.entry.text);
        if (method === 'Page.loadEventFired') loaded();
    };
    browser.listeners.add(listener);
    for (const domain of ['Page', 'Runtime', 'Log', 'Network']) await send(`${domain}.enable`);
    await send('Network.emulateNetworkConditions', {
        offline: true,
        latency: 0,
        downloadThroughput: 0,
        uploadThroughput: 0,
    });
    await send('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: 1, mobile: width < 600 });
    await send('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value: scheme }] });
    const began = performance.now();
    await send('Page.navigate', { url });
    await load;
    // Two frames later everything has been drawn once.
    const evaluate = async (expression) => {
        const { result, exceptionDetails } = await send('Runtime.evaluate', {
            expression,
            returnByValue: true,
            awaitPromise: true,
        });
        if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
        return result.value;
    };
    await evaluate('new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))');
    const tookMs = performance.now() - began;
    return {
        requests,
        complaints,
        tookMs,
        send,
        evaluate,
        async screenshot({ full = false } = {}) {
            const { data } = await send('Page.captureScreenshot', {
                format: 'png',
                captureBeyondViewport: full,
                ...(full ? await whole() : {}),
            });
            return Buffer.from(data, 'base64');
        },
        async close() {
            browser.listeners.delete(listener);
            await browser.send('Target.closeTarget', { targetId });
        },
    };
    async function whole() {
        const { cssContentSize } = await send('Page.getLayoutMetrics');
        return { clip: { ...cssContentSize, x: 0, y: 0, scale: 1 } };
    }
}
