// The page: files or the microphone -> chunks -> the model -> probabilities, picture and times.
// `?file=clip.wav` opens a file that lies beside the page, for demonstrations and tests.
import {Tensor, loadAndCompile, loadLiteRt} from './litert/index.js';
import {chosenFiles, csvLine, divided, droppedFiles} from './files.js';
import {draw} from './picture.js';
import {chunkStarts, cut, fuse, largest, mixed, resampled, sounding, storedRate, trimmed} from './sound.js';

const at = (id) => document.getElementById(id);
const number = (value, digits = 4) => String(Number(value.toPrecision(digits)));
const percent = (share) => `${(100 * share).toFixed(1)} %`;
const seconds = (samples) => (samples / model.rate).toFixed(2);
// A browser that is kept busy would neither draw nor hear a click.
const pause = () => new Promise((resolve) => setTimeout(resolve));

let model;  // what model.json says
let decide, depict;  // waveform -> output, waveform -> Mel spectrogram
let shown = null;  // what is on the canvas: to be drawn again when the window changes
let opened = null;  // the file: its sound, where its chunks begin, their outputs
let lines = [];  // of the table of several files, as CSV
let microphone = null;  // while it is on
let task = 0;  // a file that is opened ends the work on the one before

function say(text, state = 'ready') {
  at('status').textContent = text;
  document.body.dataset.state = state;
}

/** A function that runs a model on a chunk and tells how long it took, in ms. */
async function runner(address) {
  const network = await loadAndCompile(address, {accelerator: 'wasm'});
  return async (waveform) => {
    const began = performance.now();
    const given = new Tensor(waveform, [1, waveform.length]);
    const [found] = await network.run([given]);
    const values = found.toTypedArray();
    given.delete();
    found.delete();
    return {values, took: performance.now() - began};
  };
}

function middle(values) {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
}

// What is seen

function showOutputs(outputs, source) {
  at('result').hidden = false;
  at('source').textContent = source;
  if (!model.classes.length) {
    at('decision').textContent = number(outputs[0]);
    at('decision').dataset.value = outputs[0];
    return;
  }
  const best = largest(outputs);
  const decision = model.classes[best];
  // The same words again would be read out again.
  if (at('decision').textContent !== decision) at('decision').textContent = decision;
  [...at('bars').children].forEach((row, c) => {
    row.dataset.value = outputs[c];
    row.classList.toggle('best', c === best);
    row.querySelector('.bar').style.width = `${100 * outputs[c]}%`;
    row.querySelector('.share').textContent = percent(outputs[c]);
  });
}

function showTimes(decisions, pictures) {
  const [decision, picture] = [middle(decisions), middle(pictures)];
  const times = decisions.length > 1 ? ` (median of ${decisions.length})` : '';
  at('time').textContent = `${decision.toFixed(1)} ms a decision${times}, ` +
    `${(decision + picture).toFixed(1)} ms with the picture.`;
  Object.assign(at('time').dataset, {decision, picture});
}

/** Draw a chunk that begins at `from`, in samples: all of it, or what sounds in it. */
function showPicture(mel, chunk, from, unit, caption) {
  const span = model.sound ? sounding(chunk, model.sound) : [0, chunk.length];
  const times = span.map((sample) => (from + sample) / model.rate);
  at('picture').hidden = false;
  at('caption').textContent = caption;
  shown = () => draw(at('spectrogram'), mel, model.panels, times, unit);
  shown();
}

// A file

/** Waveform at the model's rate: the samples as they are stored, resampled as dslite does it. */
async function decoded(content) {
  const stored = storedRate(content) || model.rate;
  let context;
  try {
    context = new OfflineAudioContext(1, 1, stored);
  } catch {  // a rate that this browser does not know: it resamples itself
    context = new OfflineAudioContext(1, 1, model.rate);
  }
  const buffer = await context.decodeAudioData(content);
  const waveform = resampled(mixed(buffer), buffer.sampleRate, model.rate);
  if (!waveform.length) throw new Error('it holds no audio');
  if (!waveform.every(Number.isFinite)) throw new Error('it holds NaN or infinite samples');
  return {waveform, duration: buffer.duration};
}

/** A file's sound, its chunks, their outputs and the file's; undefined: another task has begun. */
async function analysed(content, name, over) {
  let sound;
  try {
    sound = await decoded(content);
  } catch (error) {
    throw new Error(`cannot be read as audio (${error.message})`);
  }
  const {waveform: whole, duration} = sound;
  const [begin, end] = model.trim ? trimmed(whole, model.trim) : [0, whole.length];
  const waveform = whole.subarray(begin, end);
  const starts = chunkStarts(waveform.length, model.chunk, model.hop);
  const outputs = [], times = [];
  let paused = performance.now();
  for (const start of starts) {
    const {values, took} = await decide(cut(waveform, start, model.chunk));
    outputs.push(values);
    times.push(took);
    if (performance.now() - paused > 200) {
      say(`${name}: chunk ${outputs.length} of ${starts.length} …`, 'busy');
      await pause();
      paused = performance.now();
    }
    if (over()) return;
  }
  return {waveform, begin, starts, outputs, times, duration, fused: fuse(outputs, model.fusion)};
}

async function open(content, name) {
  const mine = ++task;
  const over = () => mine !== task;
  await stop();
  say(`Reading ${name} …`, 'busy');
  at('time').textContent = '';
  try {
    const file = await analysed(await content, name, over);
    if (over()) return;
    opened = file;
    const {starts, times, duration, fused} = file;
    const chunks = starts.length === 1 ? '1 chunk' : `${starts.length} chunks, ${model.fusion === 'vote' ? 'their votes' : 'their mean'}`;
    showOutputs(fused, `${name}, ${duration.toFixed(2)} s, ${chunks}`);
    at('chunk').max = starts.length - 1;
    at('chunk').value = 0;
    at('which').hidden = starts.length === 1;
    showTimes(times, [await showChunk(0)]);
    say('', 'done');
  } catch (error) {  // it is no audio, was moved away, or the model failed
    if (!over()) say(`${name}: ${error.message}.`, 'failed');
  }
}

/** Draw one chunk of the file; gives the time it took. */
async function showChunk(index) {
  const {waveform, begin, starts, outputs} = opened;
  const chunk = cut(waveform, starts[index], model.chunk);
  const {values, took} = await depict(chunk);
  const from = begin + starts[index], row = outputs[index], best = largest(row);
  const last = Math.min(from + model.chunk, begin + waveform.length);
  const answer = model.classes.length ? `${model.classes[best]} ${percent(row[best])}` : number(row[0]);
  const padded = last < from + model.chunk && !model.sound ? ', then zeros' : '';
  const caption = `Chunk ${index + 1} of ${starts.length}, ${seconds(from)} to ${seconds(last)} s${padded}: ${answer}`;
  showPicture(values, chunk, from, 's', caption);
  at('chunk').setAttribute('aria-valuetext', caption);
  return took;
}

async function show(file) {
  URL.revokeObjectURL(at('player').src);
  at('player').src = URL.createObjectURL(file);
  at('player').hidden = false;
  await open(file.arrayBuffer(), file.name);
}

/** What was chosen or dropped: one file is shown; of several, or a folder's, a table is made. */
async function take(files) {
  if (document.body.dataset.state === 'loading') return;
  const {audio, others} = divided(files, model.suffixes);
  if (!audio.length) return say('There is no audio in it.', 'failed');
  at('files').hidden = files.length === 1 && !files[0].path.includes('/');
  await (at('files').hidden ? show(files[0].file) : tabulate(audio, others));
}

async function tabulate(files, others) {
  const mine = ++task;
  const over = () => mine !== task;
  await stop();
  for (const id of ['player', 'result', 'picture']) at(id).hidden = true;
  at('player').pause();
  at('rows').replaceChildren();
  at('counts').textContent = '';
  lines = [csvLine(['file', 'duration_s', 'prediction', ...model.classes])];
  let failed = 0;
  for (const [i, {file, path}] of files.entries()) {
    say(`File ${i + 1} of ${files.length} …`, 'busy');
    await pause();
    try {
      const result = await analysed(await file.arrayBuffer(), path, over);
      if (over()) return;
      const {duration, fused} = result, best = largest(fused);
      const decision = model.classes[best] ?? number(fused[0], 6);
      const shares = model.classes.length ? fused : [];
      lines.push(csvLine([path, duration.toFixed(4), decision, ...shares.map((share) => share.toFixed(4))]));
      addRow(file, path, [decision, ...shares.length ? [percent(fused[best])] : []]);
    } catch (error) {
      if (over()) return;
      failed++;
      addRow(file, path, [error.message], 'failed');
    }
    at('counts').textContent = `${lines.length - 1} of ${files.length} files predicted` +
      `${failed ? `, ${failed} failed` : ''}${others ? `; ${others} that are no audio left out` : ''}.`;
  }
  say('', 'done');
}

/** A row of the table; a click on it shows its file as if it were the only one. */
function addRow(file, path, cells, kind = '') {
  const row = Object.assign(at('rows').insertRow(), {className: kind});
  const name = Object.assign(document.createElement('button'), {type: 'button', textContent: path});
  row.insertCell().append(name);
  for (const text of cells) row.insertCell().textContent = text;
  row.lastChild.colSpan = at('heads').children.length - cells.length;
  row.addEventListener('click', () => {
    if (document.body.dataset.state === 'busy') return;
    at('rows').querySelector('[aria-current]')?.removeAttribute('aria-current');
    row.setAttribute('aria-current', 'true');
    show(file);
  });
}

// The microphone

async function start() {
  task++;
  if (!navigator.mediaDevices) throw new Error('only on localhost or over https');
  // What a browser does to make speech clearer would change what the model was trained on.
  const plain = {echoCancellation: false, noiseSuppression: false, autoGainControl: false};
  const stream = await navigator.mediaDevices.getUserMedia({audio: plain});
  microphone = {stream};
  const {context, source} = connected(stream);
  microphone.context = context;
  await context.audioWorklet.addModule('microphone.js');
  const ears = new AudioWorkletNode(context, 'microphone');
  source.connect(ears).connect(context.destination);  // silent, but what leads nowhere is not run
  await context.resume();
  hear(ears.port, microphone);
  at('player').hidden = true;
  at('player').pause();
  at('which').hidden = true;
  at('files').hidden = true;
  at('result').hidden = true;
  at('time').textContent = '';
  at('microphone').textContent = 'Stop the microphone';
  at('microphone').setAttribute('aria-pressed', 'true');
}

/** The microphone at the model's rate; where a browser (Firefox) refuses that, at its own. */
function connected(stream) {
  for (const options of [{sampleRate: model.rate}, {}]) {
    const context = new AudioContext(options);
    try {
      return {context, source: context.createMediaStreamSource(stream)};
    } catch (error) {
      context.close();
      if (!options.sampleRate) throw error;
    }
  }
}

async function stop() {
  if (!microphone) return;
  const {stream, context} = microphone;
  microphone = null;
  stream.getTracks().forEach((track) => track.stop());
  at('microphone').textContent = 'Start the microphone';
  at('microphone').setAttribute('aria-pressed', 'false');
  await context?.close();
}

/** A decision every hop on the last window heard; in between, the picture as often as it is cheap. */
function hear(port, mine) {
  const rate = mine.context.sampleRate;
  const length = model.window / model.rate;
  const last = new Float32Array(Math.round(model.window * rate / model.rate));
  // Zeros fill what a window is shorter than the model's chunk.
  const chunk = () => cut(resampled(last, rate, model.rate), 0, model.chunk);
  const decisions = [], pictures = [];
  let heard = 0, decided = -Infinity, next = 0, busy = false;  // samples heard, decided at; ms
  port.onmessage = async ({data}) => {
    const block = data.length > last.length ? data.subarray(data.length - last.length) : data;
    last.copyWithin(0, block.length);
    last.set(block, last.length - block.length);
    heard += data.length;
    if (busy || microphone !== mine) return;
    busy = true;
    try {
      await look();
      if (heard >= last.length && heard - decided >= model.window_hop * rate / model.rate) await judge();
    } catch (error) {
      say(`The model failed (${error.message}).`, 'failed');
      await stop();
    }
    busy = false;
  };

  async function look() {
    const began = performance.now();
    if (began < next) return;
    const seen = chunk();
    const {values, took} = await depict(seen);
    if (microphone !== mine) return;
    next = began + Math.max(100, 4 * (performance.now() - began));
    pictures.push(took);
    if (pictures.length > 9) pictures.shift();
    showPicture(values, seen, -model.window, 's from now', `The last ${length} s`);
    if (heard < last.length) say(`Listening, the first decision after ${length} s …`, 'listening');
  }

  async function judge() {
    decided = heard;
    const {values, took} = await decide(chunk());
    if (microphone !== mine) return;
    decisions.push(took);
    if (decisions.length > 9) decisions.shift();
    showOutputs(Array.from(values), `Microphone, the last ${length} s`);
    showTimes(decisions, pictures);
    say('Listening …', 'listening');
  }
}

// The beginning

function describe() {
  const title = `${model.dataset}: ${model.run}`;
  document.title = `${title} – dslite`;
  at('title').textContent = title;
  const what = model.classes.length ? `One of ${model.classes.length} classes` : 'A number';
  const lengths = [model.chunk, model.window, model.window_hop].map((count) => count / model.rate);
  const [chunk, window, hop] = lengths;
  const long = model.sound ? `clip of up to ${chunk} s, or ${window} s of the microphone,` : `${chunk} s of sound`;
  at('about').textContent = `${what} for every ${long} at ${model.rate / 1000} kHz, ` +
    `a decision every ${hop} s. Model: ${model.variant || 'float32'}.`;
  at('licence').textContent = `Licence of the pre-trained weights: ${model.licence}. Made with ` +
    `dslite ${model.version}; runs on LiteRT.js (Apache-2.0).`;
  if (!model.classes.length) at('heads').lastElementChild.remove();
  for (const name of model.classes) {
    const row = document.createElement('li');
    for (const part of ['name', 'track', 'share']) {
      row.append(Object.assign(document.createElement('span'), {className: part}));
    }
    row.querySelector('.name').textContent = name;
    row.querySelector('.track').append(Object.assign(document.createElement('span'), {className: 'bar'}));
    at('bars').append(row);
  }
}

function listen() {
  for (const input of [at('file'), at('folder')]) {
    input.addEventListener('change', () => {
      take(chosenFiles(input));
      input.value = '';  // so that the same file can be chosen again
    });
  }
  at('csv').addEventListener('click', () => {
    URL.revokeObjectURL(at('csv').href);
    at('csv').href = URL.createObjectURL(new Blob(lines, {type: 'text/csv'}));
  });
  at('chunk').addEventListener('input', () => showChunk(Number(at('chunk').value)));
  at('microphone').addEventListener('click', async () => {
    at('microphone').disabled = true;
    try {
      await (microphone ? stop().then(() => say('')) : start());
    } catch (error) {
      await stop();
      say(`The microphone cannot be used (${error.message}).`, 'failed');
    }
    at('microphone').disabled = false;
  });
  document.addEventListener('dragover', (event) => {
    event.preventDefault();
    document.body.classList.add('over');
  });
  document.addEventListener('dragleave', (event) => {
    if (!event.relatedTarget) document.body.classList.remove('over');  // left the window
  });
  document.addEventListener('drop', async (event) => {
    event.preventDefault();
    document.body.classList.remove('over');
    try {
      await take(await droppedFiles(event.dataTransfer));
    } catch (error) {
      say(`What was dropped cannot be read (${error.message}).`, 'failed');
    }
  });
  window.addEventListener('resize', () => shown?.());
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => shown?.());
}

async function begin() {
  model = await (await fetch('model.json')).json();
  describe();
  // LiteRT.js looks here for how its WebAssembly is to write; it calls its news errors.
  self.Module = {printErr: (line) => /^(INFO|WARNING|VERBOSE)/.test(line) ? console.debug(line) : console.error(line)};
  await loadLiteRt('./litert/wasm/');
  decide = await runner('model.tflite');
  depict = await runner('spectrogram.tflite');
  // The first run of each is slower than any after it, and would be the time that is told.
  await decide(new Float32Array(model.chunk));
  await depict(new Float32Array(model.chunk));
  listen();
  for (const id of ['microphone', 'file', 'folder']) at(id).disabled = false;
  say('');
  const name = new URLSearchParams(location.search).get('file');
  if (!name) return;
  const answer = await fetch(name);
  if (answer.ok) await open(answer.arrayBuffer(), name);
  else say(`${name} is not there.`, 'failed');
}

begin().catch((error) => {
  console.error(error);
  say(`The page cannot start (${error.message}).`, 'failed');
});
