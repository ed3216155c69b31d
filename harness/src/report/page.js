// What the page can do beyond standing still: look closer at a drawing, say what a call was, copy a line.
// It asks the network for nothing and keeps nothing.
'use strict';

const HINT = 'Point at a call to read it. Drag to move; Ctrl and the wheel, or + and −, to look closer.';

for (const figure of document.querySelectorAll('figure.drawing')) lookCloser(figure);
for (const button of document.querySelectorAll('button[data-copy]')) copies(button);
openNamed();
addEventListener('hashchange', openNamed);
addEventListener('beforeprint', () => document.querySelectorAll('details').forEach((one) => (one.open = true)));

// A link to a race opens it.
function openNamed() {
    const named = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!named || named.tagName !== 'DETAILS') return;
    named.open = true;
    named.scrollIntoView();
}

function lookCloser(figure) {
    const span = Number(figure.dataset.span);
    const focus = figure.dataset.focus.split(' ').map(Number);
    const least = Math.min(span, Math.max(20, span / 20_000));
    const [lanes, density, axis] = ['.lanes', '.density', '.axis'].map((name) => figure.querySelector(name));
    const plots = figure.querySelectorAll('.plots svg');
    const tools = figure.querySelector('.tools');
    const readout = figure.querySelector('.readout');
    const calls = reader(figure.querySelector('.calls'));
    let [from, to] = focus;

    function show(newFrom, newTo) {
        const length = Math.min(span, Math.max(least, newTo - newFrom));
        from = Math.min(Math.max(0, newFrom), span - length);
        to = from + length;
        for (const plot of plots) {
            const { y, height } = plot.viewBox.baseVal;
            plot.setAttribute('viewBox', `${from} ${y} ${length} ${height}`);
        }
        const window = density.querySelector('.window');
        const width = density.viewBox.baseVal.width;
        window.setAttribute('x', (from / span) * width);
        window.setAttribute('width', (length / span) * width);
        drawAxis(axis, from, to);
        press('focus', from === focus[0] && to === focus[1]);
        press('whole', length === span);
    }
    const press = (act, is) => tools.querySelector(`[data-act="${act}"]`).setAttribute('aria-pressed', is);
    const zoom = (factor, at = (from + to) / 2) => show(at - (at - from) * factor, at + (to - at) * factor);
    const move = (part) => show(from + (to - from) * part, to + (to - from) * part);
    const acts = {
        focus: () => show(...focus),
        whole: () => show(0, span),
        closer: () => zoom(0.5),
        farther: () => zoom(2),
        earlier: () => move(-0.5),
        later: () => move(0.5),
    };
    const keys = {
        '+': 'closer',
        '=': 'closer',
        '-': 'farther',
        ArrowLeft: 'earlier',
        ArrowRight: 'later',
        0: 'whole',
        Home: 'focus',
    };

    tools.addEventListener('click', (event) => acts[event.target.dataset.act]?.());
    lanes.addEventListener('keydown', (event) => {
        if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
        event.preventDefault();
        acts[keys[event.key]]();
    });
    // A plain wheel scrolls the page, as everywhere.
    lanes.addEventListener(
        'wheel',
        (event) => {
            if (!event.ctrlKey && !event.metaKey) return;
            event.preventDefault();
            zoom(Math.exp(event.deltaY / 300), from + (to - from) * place(event, lanes).x);
        },
        { passive: false },
    );
    dragged(lanes, (event, last) => {
        const shift = ((last.clientX - event.clientX) / lanes.clientWidth) * (to - from);
        show(from + shift, to + shift);
    });
    const centre = (event) => {
        const [at, half] = [place(event, density).x * span, (to - from) / 2];
        show(at - half, at + half);
    };
    density.addEventListener('click', centre);
    dragged(density, centre);
    lanes.addEventListener('pointermove', (event) => {
        const { x, y } = place(event, lanes);
        const reach = ((to - from) / lanes.clientWidth) * 6;
        const call = calls().at(Math.floor(y * lanes.viewBox.baseVal.height), from + (to - from) * x, reach);
        readout.textContent = call?.text ?? HINT;
        readout.classList.toggle('call', Boolean(call));
        readout.classList.toggle('shows', call?.marked ?? false);
    });

    tools.hidden = readout.hidden = false;
    readout.textContent = HINT;
    show(from, to);
    // In a race that is not opened yet the axis has no width.
    new ResizeObserver(() => drawAxis(axis, from, to)).observe(axis);
}

// Where in an element a pointer is, as parts of its width and height.
function place(event, element) {
    const { left, top, width, height } = element.getBoundingClientRect();
    return { x: (event.clientX - left) / width, y: (event.clientY - top) / height };
}

function dragged(element, moved) {
    let last = null;
    element.addEventListener('pointerdown', (event) => {
        if (event.button !== 0) return;
        last = event;
        element.setPointerCapture(event.pointerId);
        element.classList.add('held-fast');
    });
    element.addEventListener('pointermove', (event) => {
        if (!last) return;
        moved(event, last);
        last = event;
    });
    for (const end of ['pointerup', 'pointercancel']) {
        element.addEventListener(end, () => {
            last = null;
            element.classList.remove('held-fast');
        });
    }
}

// Ten thousand calls are read when the first is asked for, not before.
function reader(script) {
    let lanes = null;
    const read = () => {
        const { words, calls } = JSON.parse(script.textContent);
        lanes = [];
        for (const [lane, from, to, client, instance, verb, subject, answer] of calls) {
            const marked = instance % 2 === 1;
            const what = [words[verb], words[subject]].filter(Boolean).join(' ').replaceAll('_', ' ');
            const who = `client ${client}, instance ${(instance >> 1) + 1}`;
            const text = `${marked ? '▶ ' : ''}${what} → ${words[answer]}  ${milliseconds(from, 1)} to ${milliseconds(to, 1)}  ${who}`;
            (lanes[lane] ??= []).push({ from, to, marked, text });
        }
    };
    return () => {
        if (!lanes) read();
        return {
            at(lane, us, reach) {
                const away = (call) => Math.max(call.from - us, us - call.to, 0);
                const near = (lanes[lane] ?? []).filter((call) => away(call) <= reach);
                return near.sort((one, other) => away(one) - away(other) || other.marked - one.marked)[0];
            },
        };
    };
}

function drawAxis(axis, from, to) {
    if (axis.clientWidth === 0) return;
    const rough = (to - from) / Math.max(2, Math.floor(axis.clientWidth / 110));
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
    const ticks = [];
    for (let at = Math.ceil(from / step) * step; at <= to; at += step) {
        const tick = document.createElement('span');
        const part = (at - from) / (to - from);
        tick.style.left = `${part * 100}%`;
        tick.textContent = milliseconds(at, step);
        if (part > 0.96) tick.className = 'end';
        ticks.push(tick);
    }
    axis.replaceChildren(...ticks);
}

// As many digits as tell two steps apart.
function milliseconds(us, step) {
    const inSeconds = step >= 500_000;
    const digits = Math.max(0, -Math.floor(Math.log10(step / (inSeconds ? 1e6 : 1e3))));
    return inSeconds ? `${(us / 1e6).toFixed(digits)} s` : `${(us / 1e3).toFixed(Math.min(3, digits))} ms`;
}

function copies(button) {
    const line = button.parentElement.querySelector('code');
    button.hidden = false;
    button.addEventListener('click', async () => {
        try {
            await navigator.clipboard.writeText(line.textContent);
            button.textContent = 'Copied';
        } catch {
            // Not every browser lends its clipboard to a page from disk; a selection it always does.
            getSelection().selectAllChildren(line);
            button.textContent = 'Selected';
        }
        setTimeout(() => (button.textContent = 'Copy'), 2_000);
    });
}
