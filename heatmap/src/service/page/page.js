// The page: asks the daemon over its JSON interface and draws. State that matters stands in the URL behind `#`.
'use strict';

const $ = (id) => document.getElementById(id);
// viridis, from few to many.
const STOPS = [[68, 1, 84], [72, 40, 120], [62, 74, 137], [49, 104, 142], [38, 130, 142], [31, 158, 137], [53, 183, 121], [109, 205, 89], [180, 222, 44], [253, 231, 37]];
const VERDICTS = ['hot', 'sparse', 'undersampled', 'filtered', 'unsplittable'];
const PAGE_SIZE = 1000, MOST_BLOCKS = 65536, PAGES = 512;
const view = { blocks: [], peak: 1, at: 0, open: null, page: 0, order: 0, drawn: [], busy: false, again: false };

const number = (value) => Number(value).toLocaleString('en-US');
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function colour(count, most) {
  if (!count) return css('--empty');
  // Logarithmic: counts differ by orders of magnitude.
  const place = most > 1 ? Math.log(count) / Math.log(most) : 1;
  const exact = Math.min(Math.max(place, 0), 1) * (STOPS.length - 1), low = Math.floor(exact), high = Math.min(low + 1, STOPS.length - 1);
  const mix = STOPS[low].map((part, at) => Math.round(part + (STOPS[high][at] - part) * (exact - low)));
  return `rgb(${mix.join(',')})`;
}

async function ask(method, parameters = {}) {
  const url = `/api/v1/${method}?${new URLSearchParams(parameters)}`;
  const response = await fetch(url, { credentials: 'same-origin' });
  const body = await response.json();
  if (!response.ok) throw new Error(body.title || response.statusText);
  return body;
}

// --- what there is -------------------------------------------------------------------------------------------------

async function everyBlock() {
  const blocks = [];
  let token = '', total = 0;
  do {
    const answer = await ask('ListFolios', { order: view.order, order_by: 'pfn', page_size: PAGE_SIZE, page_token: token });
    for (const folio of answer.folios) {
      const fraction = folio.fraction;
      blocks.push({
        pfn: parseInt(fraction.folio_pfn, 16), accesses: fraction.accesses, peak: folio.peak, hot: fraction.hot_percent,
        touched: folio.touched_pages, verdict: fraction.verdict, backing: folio.backing,
      });
    }
    token = answer.next_page_token;
    total = answer.total_size;
  } while (token && blocks.length < MOST_BLOCKS);
  return { blocks, total };
}

async function refresh() {
  // One at a time: while an answer is under way, what is new then is asked for after it.
  if (view.busy) { view.again = true; return; }
  view.busy = true;
  try {
    const [status, distribution, list, top] = await Promise.all([
      ask('GetStatus'), ask('GetDistribution', { order: view.order }), everyBlock(),
      ask('ListFolios', { order: view.order, page_size: 15 }),
    ]);
    view.blocks = list.blocks;
    view.peak = list.blocks.reduce((most, block) => Math.max(most, block.peak), 1);
    showStatus(status, list);
    showDistribution(distribution);
    showTop(top.folios);
    drawMachine();
    drawLegend();
    if (view.open !== null) await showBlock(view.open);
    $('trouble').hidden = true;
  } catch (error) {
    $('trouble').textContent = `No news: ${error.message}`;
    $('trouble').hidden = false;
  }
  view.busy = false;
  if (view.again) { view.again = false; setTimeout(refresh, 1000); }
}

function showStatus(status, list) {
  const input = status.inputs[0] || {}, ledger = status.ledger, clock = status.clock;
  const states = { running: 'running', stalled: 'STALLED: nothing comes', ended: 'the input has ended', failed: `FAILED: ${input.failure}`, waiting: 'waiting for data' };
  $('state').textContent = `${input.path || 'input'}: ${states[input.state] || input.state}; epoch ${clock.epoch ?? '-'}; ` +
    `${number(ledger.counted)} accesses counted to ${number(list.total)} blocks` +
    (list.total > list.blocks.length ? `, of which ${number(list.blocks.length)} are shown` : '');
  const losses = [['lost', 'records lost'], ['skipped_bytes', 'bytes skipped'], ['cut_off_bytes', 'bytes cut off'], ['aux_truncated', 'buffers truncated'],
    ['aux_collision', 'collisions'], ['aux_partial', 'partial buffers'], ['over_budget', 'accesses over the memory budget'], ['late', 'accesses late']]
    .filter(([name]) => ledger[name] > 0).map(([name, what]) => `${number(ledger[name])} ${what}`);
  $('losses').hidden = losses.length === 0;
  $('losses').textContent = `Something was lost: ${losses.join(', ')}`;
  const notes = status.reason ? [status.reason, ...status.notes] : status.notes;
  $('notes').hidden = notes.length === 0;
  $('notes').replaceChildren(...notes.map((note) => element('li', note)));
}

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function row(...cells) {
  const made = element('tr');
  made.append(...cells);
  return made;
}

function bar(value, most) {
  const cell = element('td'), meter = element('meter');
  Object.assign(meter, { min: 0, max: most || 1, value });
  cell.append(meter);
  return cell;
}

function showDistribution(distribution) {
  for (const [id, rows] of [['touched', distribution.touched_distribution], ['hot', distribution.hot_distribution]]) {
    const most = Math.max(...rows.map((one) => one.folios));
    $(id).tBodies[0].replaceChildren(...rows.map((one) => row(
      element('td', `${one.from}-${one.to === 100 ? 100 : one.to - 1} %`, 'n'), bar(one.folios, most), element('td', number(one.folios), 'n'))));
  }
  const verdicts = VERDICTS.map((name) => [name, distribution.verdicts[name]]), most = Math.max(...verdicts.map(([, count]) => count));
  $('verdicts').tBodies[0].replaceChildren(...verdicts.map(([name, count]) => row(element('td', name), bar(count, most), element('td', number(count), 'n'))));
}

function showTop(folios) {
  $('top').tBodies[0].replaceChildren(...folios.map((folio) => {
    const fraction = folio.fraction, link = element('a', fraction.folio_pfn), first = element('td');
    link.href = `#block=${fraction.folio_pfn}`;
    first.append(link);
    return row(first, element('td', number(fraction.accesses), 'n'), element('td', `${folio.touched_pages}/${PAGES}`, 'n'),
      element('td', `${fraction.hot_chunks}/${fraction.chunks} ${fraction.hot_percent} %`, 'n'), element('td', fraction.verdict || 'not judged'), element('td', folio.backing || ''));
  }));
}

// --- drawing -------------------------------------------------------------------------------------------------------

function sized(canvas, width, height) {
  const scale = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const pen = canvas.getContext('2d');
  pen.scale(scale, scale);
  return pen;
}

// Blocks in rows; where addresses are not next to each other, an empty square with a mark stands between.
function drawMachine() {
  const width = $('machine').parentElement.clientWidth, many = view.blocks.length;
  const size = many > 20000 ? 4 : many > 5000 ? 6 : many > 1000 ? 9 : 14, step = size + 1, columns = Math.max(Math.floor(width / step), 1);
  view.drawn = [];
  let cell = 0;
  view.blocks.forEach((block, at) => {
    if (at > 0 && block.pfn !== view.blocks[at - 1].pfn + PAGES) cell += 1;
    view.drawn.push(cell);
    cell += 1;
  });
  view.columns = columns;
  view.step = step;
  const pen = sized($('machine'), columns * step, Math.max(Math.ceil(cell / columns), 1) * step);
  const spot = (place) => [place % columns * step, Math.floor(place / columns) * step];
  view.blocks.forEach((block, at) => {
    const [x, y] = spot(view.drawn[at]);
    if (at > 0 && view.drawn[at] > view.drawn[at - 1] + 1) {
      const [gapX, gapY] = spot(view.drawn[at] - 1);
      pen.fillStyle = css('--line');
      pen.fillRect(gapX + size / 2 - 1, gapY + size / 2 - 1, 2, 2);
    }
    pen.fillStyle = colour(block.peak, view.peak);
    pen.fillRect(x, y, size, size);
    if (size >= 6) {
      pen.fillStyle = css('--ink');
      pen.fillRect(x, y + size - 2, Math.max(Math.round(size * block.hot / 100), 1), 2);
    }
  });
  if (many > 0) {
    view.at = Math.min(view.at, many - 1);
    const [x, y] = spot(view.drawn[view.at]);
    pen.strokeStyle = css('--accent');
    pen.lineWidth = 2;
    pen.strokeRect(x - .5, y - .5, size + 1, size + 1);
  }
}

function tellBlock(at) {
  const block = view.blocks[at];
  if (!block) return;
  $('machine-told').textContent = `PFN 0x${block.pfn.toString(16)}: ${number(block.accesses)} accesses to ${block.touched} of ${PAGES} pages, ` +
    `hottest page ${number(block.peak)}, ${block.hot} % hot, ${block.verdict || 'not judged'}`;
}

function drawLegend() {
  const width = Math.min($('legend').parentElement.clientWidth, 420), height = 14, pen = sized($('legend'), width, height);
  for (let x = 0; x < width; x += 1) {
    pen.fillStyle = colour(Math.max(view.peak ** (x / width), 1), view.peak);
    pen.fillRect(x, 0, 1, height);
  }
  $('legend-told').textContent = `From 1 access of a page, left, to ${number(view.peak)}, right; each step is a factor. Pages without accesses are grey.`;
}

async function showBlock(pfn) {
  const answer = await ask('GetFolio', { pfn: `0x${pfn.toString(16)}`, order: view.order });
  const { folio, counts } = answer, most = Math.max(...counts), hot = BigInt(`0x${answer.hot_bitmap}`);
  view.counts = counts;
  $('block').hidden = false;
  $('block-title').textContent = `Block at PFN ${folio.fraction.folio_pfn}`;
  const width = Math.min($('pages').parentElement.clientWidth, 32 * 20), step = Math.floor(width / 32), size = step - 1;
  view.pageStep = step;
  const pen = sized($('pages'), 32 * step, 16 * step);
  counts.forEach((count, page) => {
    const x = page % 32 * step, y = Math.floor(page / 32) * step;
    pen.fillStyle = colour(count, most);
    pen.fillRect(x, y, size, size);
    if (hot >> BigInt(page >> view.order) & 1n) {
      pen.strokeStyle = css('--ink');
      pen.lineWidth = 1;
      pen.strokeRect(x + .5, y + .5, size - 1, size - 1);
    }
  });
  const x = view.page % 32 * step, y = Math.floor(view.page / 32) * step;
  pen.strokeStyle = css('--accent');
  pen.lineWidth = 2;
  pen.strokeRect(x, y, size, size);
  tellPage(view.page);
  const fraction = folio.fraction;
  const facts = [['accesses', number(fraction.accesses)], ['loads, stores', `${number(folio.loads)}, ${number(folio.stores)}`], ['touched pages', `${folio.touched_pages} of ${PAGES}`],
    ['hot', `${fraction.hot_chunks} of ${fraction.chunks}, ${fraction.hot_percent} %`], ['verdict', fraction.verdict || 'not judged'],
    ['backing', folio.backing || 'unknown'], ['last access', fraction.age === null ? 'unknown' : `${Number(fraction.age).toFixed(1)} s before the end of the epoch`]];
  $('facts').replaceChildren(...facts.flatMap(([name, value]) => [element('dt', name), element('dd', value)]));
}

function tellPage(page) {
  const count = view.counts ? view.counts[page] : 0;
  $('pages-told').textContent = `page ${page} of the block: ${number(count)} accesses`;
}

// --- what people do ------------------------------------------------------------------------------------------------

function open(at) {
  const block = view.blocks[at];
  if (block) location.hash = `block=0x${block.pfn.toString(16)}`;
}

function fromUrl() {
  const asked = new URLSearchParams(location.hash.slice(1)), pfn = parseInt(asked.get('block'), 16);
  if (Number.isNaN(pfn)) {
    view.open = null;
    $('block').hidden = true;
    return;
  }
  view.open = pfn;
  const at = view.blocks.findIndex((block) => block.pfn === pfn);
  if (at >= 0) view.at = at;
  showBlock(pfn).then(() => $('pages').focus()).catch((error) => { $('pages-told').textContent = error.message; });
  drawMachine();
}

function blockUnder(event) {
  const cell = Math.floor(event.offsetY / view.step) * view.columns + Math.floor(event.offsetX / view.step);
  return view.drawn.indexOf(cell);
}

function pageUnder(event) {
  const x = Math.floor(event.offsetX / view.pageStep), y = Math.floor(event.offsetY / view.pageStep);
  return x < 32 && y < 16 ? y * 32 + x : -1;
}

function arrows(event, across) {
  return { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across }[event.key];
}

$('machine').addEventListener('pointermove', (event) => tellBlock(blockUnder(event)));
$('machine').addEventListener('click', (event) => {
  const at = blockUnder(event);
  if (at >= 0) { view.at = at; open(at); }
});
$('machine').addEventListener('keydown', (event) => {
  const step = arrows(event, view.columns);
  if (event.key === 'Enter') open(view.at);
  else if (step === undefined) return;
  else {
    view.at = Math.min(Math.max(view.at + step, 0), view.blocks.length - 1);
    drawMachine();
    tellBlock(view.at);
  }
  event.preventDefault();
});
$('machine').addEventListener('focus', () => tellBlock(view.at));
$('pages').addEventListener('pointermove', (event) => {
  const page = pageUnder(event);
  if (page >= 0) tellPage(page);
});
$('pages').addEventListener('keydown', (event) => {
  const step = arrows(event, 32);
  if (step === undefined) return;
  view.page = Math.min(Math.max(view.page + step, 0), PAGES - 1);
  showBlock(view.open);
  event.preventDefault();
});
$('close').addEventListener('click', () => { location.hash = ''; });
document.addEventListener('keydown', (event) => {
  if (event.key === 'Escape' && view.open !== null) { location.hash = ''; $('machine').focus(); }
});
window.addEventListener('hashchange', fromUrl);
window.addEventListener('resize', () => { drawMachine(); drawLegend(); });
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => { drawMachine(); drawLegend(); });

refresh().then(fromUrl);
new EventSource('/api/v1/events').addEventListener('snapshot', () => setTimeout(refresh, 200));
