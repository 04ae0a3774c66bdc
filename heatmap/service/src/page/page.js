// The page: asks the daemon over its JSON interface and draws. State that matters stands in the URL behind `#`:
// `block` and `page` are what is open, `from` and `to` the part of memory that the map shows, `order` and `threshold`
// how it is judged, where it is not as the daemon does by itself.
'use strict';

const $ = (id) => document.getElementById(id);
// viridis, from few to many. It begins a little above its darkest colours, which are too near to those of a dark page.
const STOPS = [[72, 36, 117], [65, 68, 135], [53, 95, 141], [42, 120, 142], [33, 145, 140], [34, 168, 132], [68, 191, 112], [122, 209, 81], [189, 223, 38], [253, 231, 37]];
// On a dark page the lowest are lighter.
const STOPS_IN_THE_DARK = [[104, 64, 168], [74, 80, 160], ...STOPS.slice(2)];
const FONT = '11px system-ui, sans-serif';
const DARK = matchMedia('(prefers-color-scheme: dark)');
const VERDICTS = ['hot', 'sparse', 'undersampled', 'filtered', 'unsplittable'];
// The word for people; none where blocks of another base page are not judged either.
const words = (verdict) => !verdict || verdict === 'filtered' ? 'not judged' : verdict;
const share = (fraction) => fraction.cold_share === null ? '–' : `${fraction.cold_share} %`;
const STATES = {
  waiting: 'Waiting for data', running: 'Running', stalled: 'Stalled: nothing comes any more', ended: 'The input has ended', failed: 'The input failed',
};
const LOSSES = [
  ['lost', 'record', 's', ' lost'], ['skipped_bytes', 'byte', 's', ' skipped'], ['cut_off_bytes', 'byte', 's', ' cut off'],
  ['aux_missing_bytes', 'announced byte', 's', ' missing'],
  ['aux_truncated', 'buffer', 's', ' truncated'], ['aux_collision', 'collision', 's', ''], ['aux_partial', 'partial buffer', 's', ''],
  ['over_budget', 'access', 'es', ' over the memory budget'],
];
const PAGES = 512, MIB_PER_BLOCK = 2, LEAST_PAUSE = 1000;

// cells: what the map shows, in the order of addresses. chosen: block number of one of them. judged: order and threshold
// that were asked for. told, hovered: the block and the page that the pointer or the keys were last on.
const view = {
  part: {}, judged: {}, cells: [], perCell: 1, peak: 1, order: 0, threshold: 0, chosen: 0, told: null, hovered: null, rows: [], columns: 1, size: 1, left: 0, open: null, page: 0, counts: null,
  asked: 0, timer: null, busy: false, again: false,
};

const number = (value) => Number(value).toLocaleString('en-US');
const hex = (value) => `0x${value.toString(16)}`;
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function amount(mib) {
  return mib >= 1024 ? `${number(+(mib / 1024).toFixed(3))} GiB` : `${number(mib)} MiB`;
}

// The colours of counts up to the most. Logarithmic: counts differ by orders of magnitude.
function scale(most) {
  const empty = css('--empty'), stops = DARK.matches ? STOPS_IN_THE_DARK : STOPS;
  return (count) => {
    if (!count) return empty;
    const place = most > 1 ? Math.log(count) / Math.log(most) : 1;
    const exact = Math.min(Math.max(place, 0), 1) * (stops.length - 1), low = Math.floor(exact), high = Math.min(low + 1, stops.length - 1);
    return `rgb(${stops[low].map((part, at) => Math.round(part + (stops[high][at] - part) * (exact - low))).join(',')})`;
  };
}

async function ask(method, parameters = {}) {
  const response = await fetch(`/api/v1/${method}?${new URLSearchParams(parameters)}`, { credentials: 'same-origin' });
  const body = await response.json();
  if (!response.ok) throw Object.assign(new Error(body.title || response.statusText), { reason: body.reason });
  return body;
}

function say(id, text) {
  // Only what is new is read aloud.
  if ($(id).textContent !== text) $(id).textContent = text;
  $(id).hidden = !text;
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

// --- what there is -------------------------------------------------------------------------------------------------

// What is new is asked for once a second at most, and not before the answers of before are there.
function refreshSoon() {
  if (view.busy) { view.again = true; return; }
  if (view.timer !== null) return;
  const wait = Math.max(view.asked + LEAST_PAUSE - Date.now(), 0);
  view.timer = setTimeout(() => { view.timer = null; refresh(); }, wait);
}

async function refresh() {
  view.busy = true;
  view.asked = Date.now();
  try {
    const status = await ask('GetStatus');
    showStatus(status);
    // Before the first epoch there is nothing to show, which the state says already.
    if (status.clock.epoch !== null) await refreshPicture();
    say('trouble', '');
    document.body.classList.remove('old');
  } catch (error) {
    if (error.reason) say('trouble', `No picture: ${error.message}`);
    else gone();
  }
  view.busy = false;
  if (view.again) { view.again = false; refreshSoon(); }
}

async function refreshPicture() {
  await refreshMap();
  const judged = { order: view.order, hot_threshold: view.threshold };
  const [distribution, top] = await Promise.all([ask('GetDistribution', judged), ask('ListFolios', { ...judged, page_size: 15 })]);
  showDistribution(distribution);
  showTop(top.folios);
  if (view.open !== null) await showBlock();
}

function gone() {
  document.body.classList.add('old');
  say('trouble', `The daemon does not answer: this is how it was at ${new Date(view.asked).toLocaleTimeString()}.`);
}

async function refreshMap() {
  const overview = await ask('overview', { ...view.part, ...view.judged });
  $('main').hidden = $('judging').hidden = false;
  view.order = overview.order;
  view.threshold = overview.hot_threshold;
  // A number that is being typed stays.
  if (document.activeElement !== $('order')) $('order').value = view.judged.order ?? view.order;
  if (document.activeElement !== $('threshold')) $('threshold').value = view.judged.hot_threshold ?? view.threshold;
  view.peak = Math.max(overview.peak, 1);
  view.perCell = overview.blocks_per_cell;
  view.cells = overview.folio_pfn.map((pfn, at) => ({
    block: parseInt(pfn, 16) / PAGES, blocks: overview.blocks[at], accesses: overview.accesses[at], peak: overview.page_peak[at],
    touched: overview.touched_pages[at], hot: overview.hot_percent[at], verdict: overview.verdict[at],
  }));
  arrange();
  drawMachine();
  if (view.told !== null) tellCell(view.cells.find((cell) => Math.floor(cell.block / view.perCell) === Math.floor(view.told / view.perCell)));
}

function showStatus(status) {
  const input = status.inputs[0] || {}, ledger = status.ledger, clock = status.clock, state = input.state || 'waiting';
  say('state', (STATES[state] || state) + (state === 'failed' ? `: ${input.failure}` : ''));
  $('state').className = state;
  const parts = [input.path === '-' ? 'standard input' : input.path, clock.epoch === null ? 'no epoch has closed yet' : `epoch ${number(clock.epoch)}`];
  if (status.snapshot_time) parts.push(`as of ${new Date(Number(status.snapshot_time) * 1000).toLocaleTimeString()}`);
  parts.push(`${number(ledger.counted)} of ${number(ledger.records)} sampled operations counted`);
  $('input').textContent = `– ${parts.filter(Boolean).join(', ')}`;
  const counted = (count, one, more, rest) => `${number(count)} ${one}${count === 1 ? '' : more}${rest}`;
  const losses = LOSSES.filter(([name]) => ledger[name] > 0).map(([name, ...words]) => counted(ledger[name], ...words));
  say('losses', losses.length ? `Something was lost: ${losses.join(', ')}.` : '');
  const notes = status.reason ? [status.reason, ...status.notes] : [...status.notes];
  if (ledger.late > 0) notes.push(`${counted(ledger.late, 'access', 'es', '')} came late and count in a later epoch than their own; none of them is lost.`);
  $('notes').hidden = notes.length === 0;
  $('notes').replaceChildren(...notes.map((note) => element('li', note)));
}

function bars(id, rows) {
  const most = Math.max(...rows.map(([, count]) => count), 1);
  $(id).tBodies[0].replaceChildren(...rows.map(([name, count]) => {
    const cell = element('td', undefined, 'bar'), bar = element('div');
    bar.style.width = count ? `max(1px, ${100 * count / most}%)` : '0';
    cell.append(bar);
    return row(element('td', name, id === 'verdicts' ? '' : 'n'), cell, element('td', number(count), 'n'));
  }));
}

function showDistribution(distribution) {
  const tens = (rows) => rows.map((one) => [`${one.from}–${one.to === 100 ? 100 : one.to - 1} %`, one.folios]);
  bars('touched', tens(distribution.touched_distribution));
  bars('hot', tens(distribution.hot_distribution));
  bars('verdicts', VERDICTS.map((name) => [words(name), distribution.verdicts[name]]));
  $('hot-caption').textContent = view.order ? `By hot chunks of ${4 << view.order} KiB` : 'By hot pages';
}

function showTop(folios) {
  const focused = $('top').contains(document.activeElement) ? document.activeElement.textContent : null;
  $('top').tBodies[0].replaceChildren(...folios.map((folio) => {
    const fraction = folio.fraction, link = element('a', fraction.folio_pfn), first = element('td');
    link.href = `#${hash({ block: fraction.folio_pfn })}`;
    first.append(link);
    return row(first, element('td', number(fraction.accesses), 'n'), element('td', `${folio.touched_pages}/${PAGES}`, 'n'),
      element('td', `${fraction.hot_chunks}/${fraction.chunks}`, 'n'), element('td', `${fraction.hot_percent} %`, 'n'),
      element('td', share(fraction), 'n'), element('td', words(fraction.verdict)),
      element('td', fraction.proposable ? fraction.steady ? 'yes' : 'not yet' : ''), element('td', folio.backing || ''));
  }));
  // The rows are new ones; who was at one of them by keys still is.
  if (focused) [...$('top').querySelectorAll('a')].find((link) => link.textContent === focused)?.focus({ preventScroll: true });
}

// --- the map -------------------------------------------------------------------------------------------------------

// Of two neighbours that share a square, it shows the one with the hotter page.
function merged(cells, perCell) {
  const joined = [];
  for (const cell of cells) {
    const last = joined[joined.length - 1];
    if (last && Math.floor(last.block / perCell) === Math.floor(cell.block / perCell)) {
      joined[joined.length - 1] = { ...(cell.peak > last.peak ? cell : last), blocks: last.blocks + cell.blocks };
    } else joined.push(cell);
  }
  return joined;
}

// Puts squares in rows. A row is a fixed amount of memory; rows without accesses are left out, and counted in the next.
function arrange() {
  const width = $('machine').parentElement.clientWidth;
  view.columns = width < 600 ? 32 : width < 1000 ? 64 : 128;
  const perRow = () => view.perCell * view.columns;
  const split = () => {
    const rows = [];
    for (const cell of view.cells) {
      const at = Math.floor(cell.block / perRow());
      if (!rows.length || rows[rows.length - 1].at !== at) {
        rows.push({ at, gap: rows.length ? at - rows[rows.length - 1].at - 1 : 0, cells: [] });
      }
      rows[rows.length - 1].cells.push({ ...cell, column: Math.floor(cell.block / view.perCell) % view.columns });
    }
    return rows;
  };
  view.rows = split();
  // More would be a long way to scroll.
  const most = width < 600 ? 100 : 250;
  while (view.rows.length > most) {
    view.perCell *= 2;
    view.cells = merged(view.cells, view.perCell);
    view.rows = split();
  }
  const pen = $('machine').getContext('2d');
  pen.font = FONT;
  view.left = Math.ceil(Math.max(...view.rows.map((one) => pen.measureText(amount(one.at * perRow() * MIB_PER_BLOCK)).width), 40)) + 10;
  view.size = Math.max(Math.min(Math.floor((width - view.left) / view.columns), 16), 5);
  let y = 5;
  for (const one of view.rows) {
    if (one.gap) y += 16;
    one.y = y;
    y += view.size;
  }
  view.height = y + 3;
  const place = [`Each square is ${view.perCell === 1 ? 'a block of 2 MiB' : `${number(view.perCell)} blocks of 2 MiB, and shows the one with the hottest page`}`,
    `each row ${amount(perRow() * MIB_PER_BLOCK)} of physical addresses, from the one at its left`].join(', ');
  $('machine-how').textContent = `${place}. The colour is that of the block's hottest page, so that one hot page in a cold block shows; ` +
    'grey squares have no accesses, and rows of them are left out.';
  $('whole').hidden = view.part.first_pfn === undefined;
  $('machine-title').textContent = view.part.first_pfn === undefined ? 'The machine' : `Memory from PFN ${view.part.first_pfn} to ${view.part.last_pfn}`;
}

function sized(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const pen = canvas.getContext('2d');
  pen.scale(ratio, ratio);
  pen.font = FONT;
  pen.textBaseline = 'middle';
  return pen;
}

// The place of the chosen square: its row, and its place among the row's squares.
function chosen() {
  const cell = Math.floor(view.chosen / view.perCell);
  let best = [0, 0], distance = Infinity;
  view.rows.forEach((one, at) => one.cells.forEach((candidate, place) => {
    const away = Math.abs(Math.floor(candidate.block / view.perCell) - cell);
    if (away < distance) { best = [at, place]; distance = away; }
  }));
  return best;
}

function drawMachine() {
  const { size, columns, left } = view, pen = sized($('machine'), left + columns * size, view.height), colour = scale(view.peak);
  const [quiet, empty, inner] = [css('--quiet'), css('--empty'), size - 1];
  let labelled = -Infinity;
  for (const one of view.rows) {
    pen.fillStyle = quiet;
    if (one.gap) {
      pen.textAlign = 'left';
      pen.fillText(`⋯ ${amount(one.gap * columns * view.perCell * MIB_PER_BLOCK)} without accesses ⋯`, left, one.y - 8);
    }
    if (one.gap || one.y - labelled >= 28) {
      pen.textAlign = 'right';
      pen.fillText(amount(one.at * columns * view.perCell * MIB_PER_BLOCK), left - 6, one.y + size / 2);
      labelled = one.y;
    }
    pen.fillStyle = empty;
    for (let column = 0; column < columns; column += 1) pen.fillRect(left + column * size, one.y, inner, inner);
    for (const cell of one.cells) {
      pen.fillStyle = colour(cell.peak);
      pen.fillRect(left + cell.column * size, one.y, inner, inner);
    }
  }
  if (view.rows.length) {
    const [at, place] = chosen(), one = view.rows[at];
    pen.strokeStyle = css('--chosen');
    pen.lineWidth = 2;
    pen.strokeRect(left + one.cells[place].column * size - .5, one.y - .5, size, size);
  }
  drawLegend('legend', view.peak, 'accesses of the hottest page');
}

function drawLegend(id, most, what) {
  const width = Math.min($(id).parentElement.clientWidth, 480), pen = sized($(id), width, 50), colour = scale(most), left = 80, end = width - 26;
  pen.fillStyle = css('--empty');
  pen.fillRect(0, 0, 12, 12);
  pen.fillStyle = css('--quiet');
  pen.fillText('none', 16, 6);
  for (let x = left; x < end; x += 1) {
    pen.fillStyle = colour(Math.max(most ** ((x - left) / (end - left)), 1));
    pen.fillRect(x, 0, 1.5, 12);
  }
  pen.fillStyle = css('--quiet');
  pen.textAlign = 'center';
  // Powers of ten, and the most unless it would stand in one's place.
  const marks = [];
  for (let mark = 1; mark < most; mark *= 10) marks.push(mark);
  while (marks.length > 1 && Math.log(most / marks[marks.length - 1]) / Math.log(most) < .14) marks.pop();
  marks.push(most);
  for (const mark of marks) {
    const x = left + (most > 1 ? Math.log(mark) / Math.log(most) : 1) * (end - left);
    pen.fillRect(x - .5, 12, 1, 4);
    pen.fillText(number(mark), x, 24);
  }
  pen.textAlign = 'left';
  pen.fillText(what, left, 42);
  $(id).setAttribute('aria-label', `Colours: grey is none, then dark to bright from 1 to ${number(most)} ${what}, each step a factor`);
}

function tellCell(cell) {
  if (!cell) return;
  view.told = cell.block;
  const others = cell.blocks > 1 ? `${number(cell.blocks)} blocks; the one with the hottest page: ` : '';
  say('machine-told', `${others}PFN ${hex(cell.block * PAGES)}: ${number(cell.accesses)} accesses to ${cell.touched} of ${PAGES} pages, ` +
    `hottest page ${number(cell.peak)}, ${cell.hot} % hot, ${words(cell.verdict)}`);
}

// --- one block -----------------------------------------------------------------------------------------------------

async function showBlock() {
  const pfn = view.open, { order, threshold } = view;
  $('block').hidden = false;
  $('block-title').textContent = `Block at PFN ${hex(pfn)}`;
  let answer;
  try {
    answer = await ask('GetFolio', { pfn: hex(pfn), order, hot_threshold: threshold });
  } catch (error) {
    if (error.reason !== 'NO_SAMPLES') throw error;
    if (pfn !== view.open) return;
    view.counts = { counts: new Array(PAGES).fill(0), hot: 0n, order };
    drawPages();
    $('facts').replaceChildren(element('dt', 'accesses'), element('dd', 'none, or none any more'));
    return;
  }
  if (pfn !== view.open) return;
  view.counts = { counts: answer.counts, hot: BigInt(`0x${answer.hot_bitmap}`), order };
  drawPages();
  const { folio } = answer, fraction = folio.fraction;
  const other = folio.atomics + folio.unknown_op;
  const facts = [
    ['verdict', words(fraction.verdict)], ['accesses', `${number(fraction.accesses)}, of them ${number(fraction.visits)} visits`],
    ['cold share', `${share(fraction)} of the visits`],
    ['may be set apart', fraction.proposable ? fraction.steady ? 'yes, steadily' : 'not yet: it is not steady' : 'no'],
    ['loads, stores', `${number(folio.loads)}, ${number(folio.stores)}${other ? `, others ${number(other)}` : ''}`],
    ['touched', `${folio.touched_pages} of ${PAGES} pages`], ['hot', `${fraction.hot_chunks} of ${fraction.chunks} ${order ? 'chunks' : 'pages'}, ${fraction.hot_percent} %`],
    ['backing', folio.backing || 'unknown'],
    ['last access', fraction.age === null ? 'unknown' : `${Number(fraction.age).toFixed(1)} s before the end of the epoch`],
    ['address', hex(BigInt(pfn) << 12n)],
  ];
  if (folio.pid !== null) facts.push(['process', String(folio.pid)]);
  if (folio.vaddr !== null) facts.push(['virtual address', folio.vaddr]);
  $('facts').replaceChildren(...facts.flatMap(([name, value]) => [element('dt', name), element('dd', value)]));
}

function drawPages() {
  const { counts, hot, order } = view.counts, most = Math.max(...counts, 1), colour = scale(most), left = 30;
  const width = Math.min($('block').clientWidth, 32 * 20 + left), step = Math.floor((width - left) / 32), size = step - 1;
  view.pageStep = step;
  view.pageLeft = left;
  const pen = sized($('pages'), left + 32 * step, 16 * step), ink = css('--ink');
  counts.forEach((count, page) => {
    const x = left + page % 32 * step, y = Math.floor(page / 32) * step;
    pen.fillStyle = colour(count);
    pen.fillRect(x, y, size, size);
    if (hot >> BigInt(page >> order) & 1n) {
      pen.strokeStyle = ink;
      pen.lineWidth = 1;
      pen.strokeRect(x + .5, y + .5, size - 1, size - 1);
    }
  });
  pen.fillStyle = css('--quiet');
  pen.textAlign = 'right';
  for (let line = 0; line < 16; line += step < 12 ? 2 : 1) pen.fillText(String(line * 32), left - 5, line * step + step / 2);
  pen.strokeStyle = css('--chosen');
  pen.lineWidth = 2;
  pen.strokeRect(left + view.page % 32 * step - .5, Math.floor(view.page / 32) * step - .5, step, step);
  drawLegend('pages-legend', most, 'accesses of a page');
  // What the pointer is on stays told while numbers change.
  tellPage(view.hovered ?? view.page);
}

function tellPage(page) {
  if (!view.counts) return;
  const { counts, hot, order } = view.counts, is = hot >> BigInt(page >> order) & 1n;
  say('pages-told', `Page ${page}, PFN ${hex(view.open + page)}: ${number(counts[page])} accesses${is ? ', hot' : ''}`);
}

// --- what people do ------------------------------------------------------------------------------------------------

// What stands behind `#`, with some of it changed; null takes something away.
function hash(changes) {
  const known = new URLSearchParams(location.hash.slice(1));
  for (const [name, value] of Object.entries(changes)) {
    if (value === null) known.delete(name);
    else known.set(name, value);
  }
  return known.toString();
}

function go(changes) {
  location.hash = hash(changes);
}

function openCell(cell) {
  if (!cell) return;
  view.chosen = cell.block;
  if (view.perCell === 1) { go({ block: hex(cell.block * PAGES), page: null }); return; }
  // A square of several blocks: its row becomes the map.
  const perRow = view.perCell * view.columns, first = Math.floor(cell.block / perRow) * perRow;
  go({ from: hex(first * PAGES), to: hex((first + perRow) * PAGES - 1) });
}

function back() {
  if (view.open !== null) { go({ block: null, page: null }); $('machine').focus(); }
  else if (view.part.first_pfn !== undefined) go({ from: null, to: null });
}

function fromUrl() {
  const asked = new URLSearchParams(location.hash.slice(1)), digits = /^0x[0-9a-f]{1,11}$/i;
  const [from, to, block] = ['from', 'to', 'block'].map((name) => (digits.test(asked.get(name)) ? asked.get(name) : null));
  const part = from && to ? { first_pfn: from, last_pfn: to } : {}, moved = JSON.stringify(part) !== JSON.stringify(view.part);
  view.part = part;
  const judged = {};
  if (/^[0-9]$/.test(asked.get('order'))) judged.order = Number(asked.get('order'));
  if (/^([0-9]{1,2}|100)$/.test(asked.get('threshold'))) judged.hot_threshold = Number(asked.get('threshold'));
  const rejudged = JSON.stringify(judged) !== JSON.stringify(view.judged);
  view.judged = judged;
  const before = view.open, page = Number(asked.get('page') || 0);
  view.open = block && Math.floor(parseInt(block, 16) / PAGES) * PAGES;
  view.page = Number.isInteger(page) && page >= 0 && page < PAGES ? page : 0;
  if (view.open === null) $('block').hidden = true;
  else view.chosen = view.open / PAGES;
  if (view.open !== before) view.hovered = null;
  return { moved, rejudged, opened: view.open !== null && view.open !== before };
}

async function follow() {
  const { moved, rejudged, opened } = fromUrl();
  if (rejudged) { view.asked = 0; refreshSoon(); }
  try {
    if (moved) {
      await refreshMap();
      tellCell(chosenCell());
    } else drawMachine();
    if (opened) {
      view.counts = null;
      await showBlock();
      $('pages').focus({ preventScroll: true });
      $('block').scrollIntoView({ block: 'nearest' });
    } else if (view.open !== null && view.counts) drawPages();
  } catch (error) {
    say('trouble', error.message);
  }
}

function cellUnder(event) {
  const one = view.rows.find((candidate) => event.offsetY >= candidate.y && event.offsetY < candidate.y + view.size);
  const column = Math.floor((event.offsetX - view.left) / view.size);
  return one && one.cells.find((cell) => cell.column === column);
}

function pageUnder(event) {
  const x = Math.floor((event.offsetX - view.pageLeft) / view.pageStep), y = Math.floor(event.offsetY / view.pageStep);
  return x >= 0 && x < 32 && y >= 0 && y < 16 ? y * 32 + x : -1;
}

// The next touched square in a direction.
function nextCell(key) {
  const [at, place] = chosen(), cells = view.rows[at].cells, column = cells[place].column;
  const near = (one) => one && one.cells.reduce((best, cell) => (Math.abs(cell.column - column) < Math.abs(best.column - column) ? cell : best));
  switch (key) {
    case 'ArrowLeft': return cells[place - 1] || (view.rows[at - 1] || { cells: [] }).cells.at(-1);
    case 'ArrowRight': return cells[place + 1] || (view.rows[at + 1] || { cells: [] }).cells[0];
    case 'ArrowUp': return near(view.rows[at - 1]);
    case 'ArrowDown': return near(view.rows[at + 1]);
    case 'Home': return view.rows[0].cells[0];
    case 'End': return view.rows.at(-1).cells.at(-1);
    default: return undefined;
  }
}

const KEYS = ['ArrowLeft', 'ArrowRight', 'ArrowUp', 'ArrowDown', 'Home', 'End'];
const chosenCell = () => { const [at, place] = chosen(); return view.rows[at] && view.rows[at].cells[place]; };

$('machine').addEventListener('pointermove', (event) => tellCell(cellUnder(event)));
$('machine').addEventListener('click', (event) => openCell(cellUnder(event)));
$('machine').addEventListener('focus', () => tellCell(chosenCell()));
$('machine').addEventListener('keydown', (event) => {
  if (!view.rows.length || event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.key === 'Enter') openCell(chosenCell());
  else if (KEYS.includes(event.key)) {
    const cell = nextCell(event.key);
    if (cell) view.chosen = cell.block;
    drawMachine();
    tellCell(chosenCell());
  } else return;
  event.preventDefault();
});
$('pages').addEventListener('pointermove', (event) => {
  const page = pageUnder(event);
  if (page >= 0) { view.hovered = page; tellPage(page); }
});
$('pages').addEventListener('pointerleave', () => {
  view.hovered = null;
  tellPage(view.page);
});
function choosePage(page) {
  view.hovered = null;
  view.page = Math.min(Math.max(page, 0), PAGES - 1);
  history.replaceState(null, '', `#${hash({ page: view.page })}`);
  drawPages();
}
$('pages').addEventListener('click', (event) => {
  const page = pageUnder(event);
  if (page >= 0 && view.counts) choosePage(page);
});
$('pages').addEventListener('keydown', (event) => {
  const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -32, ArrowDown: 32, Home: -PAGES, End: PAGES }[event.key];
  if (step === undefined || !view.counts || event.ctrlKey || event.altKey || event.metaKey) return;
  choosePage(view.page + step);
  event.preventDefault();
});
$('close').addEventListener('click', back);
$('whole').addEventListener('click', () => { go({ from: null, to: null }); $('machine').focus(); });
for (let order = 0; order < 10; order += 1) {
  const size = 4 << order, choice = element('option', `${size < 1024 ? `${size} KiB` : `${size / 1024} MiB`} (order ${order})`);
  choice.value = order;
  $('order').append(choice);
}
$('order').addEventListener('change', () => go({ order: $('order').value }));
$('threshold').addEventListener('change', () => {
  if ($('threshold').value !== '' && $('threshold').checkValidity()) go({ threshold: $('threshold').value });
  else $('threshold').value = view.threshold;
});
document.addEventListener('keydown', (event) => { if (event.key === 'Escape') back(); });
window.addEventListener('hashchange', follow);
function drawAll() {
  if (!view.cells.length) return;
  arrange();
  drawMachine();
  if (view.open !== null && view.counts) drawPages();
}
window.addEventListener('resize', drawAll);
DARK.addEventListener('change', drawAll);

// The token has become a cookie, and need not stand where it can be read over a shoulder.
if (new URLSearchParams(location.search).has('token')) history.replaceState(null, '', `/${location.hash}`);
fromUrl();
refreshSoon();
const events = new EventSource('/api/v1/events');
events.addEventListener('snapshot', refreshSoon);
events.addEventListener('error', gone);
