// The report in a real browser, from disk, with the network off: it complains of nothing, asks for nothing, shows what
// failed and fits, from a phone to a desk, with two hundred calls and with ten thousand.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, describe, it } from 'node:test';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';

import { findChromium, startChromium } from './helpers/chromium.mjs';
import { startProcess, stopEverything } from './helpers/processes.mjs';

const { STOCKHOLD_HARNESS: HARNESS, STOCKHOLD_CONTROL: CONTROL } = process.env;
const chromium = findChromium();
const missing = [
    !chromium && 'no Chromium is installed (CHROMIUM names one)',
    !(HARNESS && CONTROL) && 'STOCKHOLD_HARNESS and STOCKHOLD_CONTROL name no programs',
].filter(Boolean);
// Each test says so itself: a whole suite that is skipped is counted as nothing.
const options = { skip: missing.length > 0 && missing.join('; ') };

let folder;
let browser;

before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'stockhold-report-'));
    if (!options.skip) browser = await startChromium(chromium);
});

after(async () => {
    await browser?.close();
    await stopEverything();
    await rm(folder, { recursive: true, force: true });
});

describe('the report in Chromium', () => {
    const reports = {};

    before(async () => {
        if (options.skip) return;
        reports['200 calls, and a planted fault'] = await raced('CheckThenTake', [
            '--scenario',
            'burst',
            '--rounds',
            '1',
            '--require-control',
        ]);
        reports['10,000 calls, one of them wrong'] = await checked(manyCalls(10_000));
    });

    for (const name of ['200 calls, and a planted fault', '10,000 calls, one of them wrong']) {
        for (const width of [360, 1280]) {
            for (const scheme of ['light', 'dark']) {
                it(`${name}: ${width} px, ${scheme}`, options, () => looksRight(reports[name], width, scheme));
            }
        }
    }

    it('looks closer, moves, and says what a call was', options, async () => {
        const page = await open(reports['10,000 calls, one of them wrong'], 1280);
        const failing = await page.evaluate(`(${nthFailing})(0)`);
        assert.ok(failing.width >= 2, 'wide enough to be seen');
        const before = await viewBox(page);
        await page.evaluate(`document.querySelector('[data-act="closer"]').click()`);
        const closer = await viewBox(page);
        assert.ok(Math.abs(closer[2] - before[2] / 2) < 1, `half as much is shown: ${before} then ${closer}`);
        await page.evaluate(
            `document.querySelector('.lanes').dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowRight', bubbles: true }))`,
        );
        assert.ok((await viewBox(page))[0] > closer[0], 'a key moves it');
        await page.evaluate(`document.querySelector('[data-act="focus"]').click()`);
        const { x, y } = await page.evaluate(`(${nthFailing})(0)`);
        await page.send('Input.dispatchMouseEvent', { type: 'mouseMoved', x, y });
        assert.match(await page.evaluate(`document.querySelector('.readout').textContent`), /^▶ get item → 200 ok/);
        await page.close();
    });

    it('copies a line that reproduces the failure', options, async () => {
        const page = await open(reports['200 calls, and a planted fault'], 1280);
        const said = await page.evaluate(`(async () => {
            const button = [...document.querySelectorAll('button[data-copy]')].at(-1);
            button.click();
            await new Promise((done) => setTimeout(done, 200));
            return [button.textContent, button.checkVisibility()];
        })()`);
        assert.match(said[0], /^(Copied|Selected)$/);
        assert.ok(said[1]);
        await page.close();
    });

    it('draws a round of a race that held, too', options, async () => {
        const page = await open(await raced(null, ['--scenario', 'cancel_confirm', '--rounds', '2']), 360);
        await page.evaluate(`document.querySelector('details.race').open = true`);
        const { drawings, failing, verdict } = await page.evaluate(`({
            drawings: [...document.querySelectorAll('svg.lanes')].filter((svg) => svg.checkVisibility()).length,
            failing: document.querySelectorAll('.failing').length,
            verdict: document.querySelector('h1').textContent,
        })`);
        assert.deepEqual({ drawings, failing, verdict }, { drawings: 1, failing: 0, verdict: 'Held' });
        await page.close();
    });

    it('is whole without its script', options, async () => {
        const source = await readFile(join(reports['200 calls, and a planted fault'], 'index.html'), 'utf8');
        const copy = join(folder, 'without-script');
        await mkdir(copy);
        await writeFile(join(copy, 'index.html'), source.replace(/<script nonce[\s\S]*?<\/script>/, ''));
        const page = await open(copy, 1280);
        assert.ok((await page.evaluate(`(${nthFailing})(0)`)).width >= 2);
        assert.equal(
            await page.evaluate(
                `[...document.querySelectorAll('button')].filter((one) => one.checkVisibility()).length`,
            ),
            0,
        );
        await page.close();
    });
});

async function looksRight(directory, width, scheme) {
    let page = await open(directory, width, scheme);
    if (page.tookMs >= 2_000) {
        // A machine that was busy gets a second look; a page that is slow is slow again.
        await page.close();
        page = await open(directory, width, scheme);
    }
    assert.deepEqual(page.complaints, []);
    assert.deepEqual(page.requests, [pathToFileURL(join(directory, 'index.html')).href]);
    assert.ok(page.tookMs < 2_000, `drawn after ${Math.round(page.tookMs)} ms`);
    const seen = await page.evaluate(`(${look})()`);
    assert.equal(seen.verdict, 'Broken');
    assert.ok(seen.pageWidth <= width, `nothing sticks out: ${seen.pageWidth} of ${width} px, ${seen.sticksOut}`);
    assert.deepEqual(seen.sticksOut, []);
    assert.ok(seen.drawings.length >= 3, 'density, band and lanes');
    for (const drawing of seen.drawings)
        assert.ok(drawing.width > width / 2 && drawing.height >= 30, JSON.stringify(drawing));
    assert.ok(seen.failing.count >= 1 && seen.failing.listed >= 1, 'marked in the drawing and in the list');
    assert.ok(seen.failing.width >= 1 && seen.failing.height >= 1.4, JSON.stringify(seen.failing));
    assert.ok(seen.failing.inside, 'the marked calls are in what is shown');
    // Looked at, and not only measured: some pixels where the marked call is have its colour.
    const { data } = await page.send('Page.captureScreenshot', {
        format: 'png',
        captureBeyondViewport: true,
        clip: { ...seen.failing.clip, scale: 1 },
    });
    assert.ok(await page.evaluate(`(${isRed})(${JSON.stringify(data)})`), 'a marked call is red');
    const smallest = await page.evaluate(`(${contrast})()`);
    assert.ok(smallest.ratio >= 4.5, `text can be read: ${JSON.stringify(smallest)}`);
    if (process.env.SCREENSHOTS) {
        await mkdir(process.env.SCREENSHOTS, { recursive: true });
        const name = `${seen.failing.count}-${width}-${scheme}.png`;
        await writeFile(join(process.env.SCREENSHOTS, name), await page.screenshot({ full: true }));
    }
    await page.close();
}

// These four run in the page.
function look() {
    const box = (element) => element.getBoundingClientRect();
    const drawings = [...document.querySelectorAll('.failure .drawing svg:not(.swatch)')].map(box);
    const groups = [...document.querySelectorAll('.lanes g.failing')];
    const lanes = box(document.querySelector('.failure .lanes'));
    const first = box(groups[0]);
    const inside = groups.every((group) => box(group).right >= lanes.left && box(group).left <= lanes.right);
    const scrolls = (element) =>
        element && (getComputedStyle(element).overflowX !== 'visible' || scrolls(element.parentElement));
    const sticksOut = [...document.querySelectorAll('body *')]
        .filter((element) => box(element).right > innerWidth + 1 && !scrolls(element.parentElement))
        .map((element) => element.tagName + '.' + element.getAttribute('class'));
    return {
        verdict: document.querySelector('h1').textContent,
        pageWidth: document.documentElement.scrollWidth,
        sticksOut,
        drawings: drawings.map(({ width, height }) => ({ width, height })),
        failing: {
            count: groups.length,
            listed: document.querySelectorAll('.events .shows').length,
            width: first.width,
            height: first.height,
            inside,
            clip: {
                x: first.x + scrollX - 2,
                y: first.y + scrollY - 2,
                width: first.width + 4,
                height: first.height + 4,
            },
        },
    };
}

function nthFailing(n) {
    const group = document.querySelectorAll('.lanes g.failing')[n];
    group.scrollIntoView({ block: 'center' });
    const { left, top, width, height } = group.getBoundingClientRect();
    return { x: left + width / 2, y: top + height / 2, width, height };
}

async function isRed(png) {
    const image = await createImageBitmap(new Blob([Uint8Array.from(atob(png), (letter) => letter.charCodeAt(0))]));
    const context = new OffscreenCanvas(image.width, image.height).getContext('2d');
    context.drawImage(image, 0, 0);
    const { data } = context.getImageData(0, 0, image.width, image.height);
    for (let at = 0; at < data.length; at += 4) {
        if (data[at] > 150 && data[at] > 1.5 * data[at + 1] && data[at] > 1.5 * data[at + 2]) return true;
    }
    return false;
}

// The least contrast of any text with what is behind it (WCAG 2.2, 1.4.3).
function contrast() {
    const context = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
    const over = (under, colour) => {
        context.fillStyle = `rgb(${under.join(' ')})`;
        context.fillRect(0, 0, 1, 1);
        context.fillStyle = colour;
        context.fillRect(0, 0, 1, 1);
        return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
    };
    const behind = (element) => {
        if (!element) return [255, 255, 255];
        return over(behind(element.parentElement), getComputedStyle(element).backgroundColor);
    };
    const light = (colour) => {
        const [r, g, b] = colour.map((part) =>
            part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4,
        );
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    let least = { ratio: Infinity };
    for (const element of document.querySelectorAll('body *:not(script):not(style):not(svg *)')) {
        const text = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
        if (!text || !element.checkVisibility()) continue;
        const under = behind(element);
        const [one, other] = [light(under), light(over(under, getComputedStyle(element).color))];
        const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
        if (ratio < least.ratio) least = { ratio, text: element.textContent.slice(0, 40) };
    }
    return least;
}

function open(directory, width, scheme = 'light') {
    return browser.openPage({ url: pathToFileURL(join(directory, 'index.html')).href, width, scheme });
}

async function viewBox(page) {
    return (await page.evaluate(`document.querySelector('.lanes').getAttribute('viewBox')`)).split(' ').map(Number);
}

let reported = 0;

// Races the built-in control and resolves to the report's directory.
async function raced(fault, args) {
    const control = startProcess(CONTROL, fault ? [fault] : [], { stdio: ['pipe', 'pipe', 'inherit'] });
    const lines = createInterface({ input: control.child.stdout })[Symbol.asyncIterator]();
    const urls = [(await lines.next()).value, (await lines.next()).value];
    const directory = await report(
        ['race', ...urls.flatMap((url) => ['--url', url]), '--seed', '1', '--quiet', ...args],
        fault ? 1 : 0,
    );
    control.child.stdin.end();
    await once(control.child, 'exit');
    return directory;
}

// Checks a history and resolves to the report's directory.
async function checked(history) {
    const file = join(folder, 'many.jsonl');
    await writeFile(file, history);
    return report(['check', file], 1);
}

async function report(args, expected) {
    reported += 1;
    const directory = join(folder, `report-${reported}`);
    const { code = 0, stderr } = await promisify(execFile)(HARNESS, [...args, '--report', directory], {
        maxBuffer: 2 ** 26,
    }).catch((error) => error);
    assert.equal(code, expected, stderr);
    assert.deepEqual((await readdir(directory)).sort(), ['history.jsonl', 'index.html', 'junit.xml', 'summary.json']);
    return directory;
}

// A history of one item as a correct service would make it, but for one read in its middle that shows every unit free
// while many are held. Two hundred clients hold units and give them back; the choices are the same in every run.
function manyCalls(count) {
    const TOTAL = 500;
    let state = 1;
    const random = () => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
    const clients = Array.from({ length: 200 }, (_, number) => ({ number, at: 1e6 + random() * 5e6, hold: null }));
    const contract = {
        repeated_confirm_is_ok: true,
        repeated_cancel_is_ok: true,
        lapse_frees_at_once: true,
        exact_reasons: true,
        ttl_is_honoured: true,
        rounding_ns: 0,
    };
    const events = [
        {
            event: 'run',
            format: 1,
            run: 'many',
            seed: 1,
            instances: ['http://127.0.0.1:1/', 'http://127.0.0.1:2/'],
            contract,
        },
        call({
            id: 1,
            client: 0,
            verb: 'create_item',
            name: 'many',
            total: TOTAL,
            from: 1,
            to: 2,
            status: 201,
            outcome: { ok: { item: { id: 'i' } } },
        }),
    ];
    let held = 0;
    for (let id = 2; id <= count + 1; id += 1) {
        // The next effect in time; each lies within its call.
        const client = clients.reduce((first, other) => (other.at < first.at ? other : first));
        const times = { from: Math.round(client.at - random() * 4e5), to: Math.round(client.at + 1 + random() * 6e5) };
        const wrong = id === count / 2;
        if (client.number % 50 === 49 || wrong) {
            const view = wrong
                ? { id: 'i', available: TOTAL, held: 0, confirmed: 0 }
                : { id: 'i', available: TOTAL - held, held, confirmed: 0 };
            events.push(
                call({
                    id,
                    client: client.number,
                    verb: 'get_item',
                    item: 'i',
                    ...times,
                    status: 200,
                    outcome: { ok: { item: view } },
                }),
            );
        } else if (client.hold) {
            held -= client.hold.quantity;
            events.push(
                call({
                    id,
                    client: client.number,
                    verb: 'cancel',
                    reservation: client.hold.id,
                    ...times,
                    status: 200,
                    outcome: { ok: { reservation: { id: client.hold.id } } },
                }),
            );
            client.hold = null;
        } else {
            const quantity = 1 + Math.floor(random() * 4);
            const fits = held + quantity <= TOTAL;
            if (fits) {
                client.hold = { id: `hold-${id}`, quantity };
                held += quantity;
            }
            const outcome = fits
                ? { ok: { reservation: { id: client.hold.id } } }
                : { refused: 'insufficient_availability' };
            events.push(
                call({
                    id,
                    client: client.number,
                    verb: 'reserve',
                    item: 'i',
                    customer: `c${id}`,
                    quantity,
                    ...times,
                    status: fits ? 201 : 409,
                    outcome,
                }),
            );
        }
        client.at = times.to + 4e5 + random() * 4e6;
    }
    return [...events, { event: 'end', calls: count + 1 }].map((event) => JSON.stringify(event)).join('\n');

    function call({ from, to, client, ...rest }) {
        return {
            event: 'call',
            client,
            instance: client % 2,
            concerns: 'i',
            invoked_ns: from,
            returned_ns: to,
            ...rest,
        };
    }
}
