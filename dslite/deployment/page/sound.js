// From an audio file to chunks and from their outputs to a file's, number for number as
// dslite.audio and dslite.evaluation do it. No function here touches the page.

/** The rate that a WAV or FLAC file says it has, in Hz; 0: another kind of file. */
export function storedRate(content) {
  const view = new DataView(content);
  const name = (at) => at + 4 <= view.byteLength ? String.fromCharCode(...new Uint8Array(content, at, 4)) : '';
  if (name(0) === 'fLaC' && view.byteLength >= 22) {
    return view.getUint32(18) >>> 12;  // the 20 bits after the sizes of blocks and frames
  }
  if (name(0) !== 'RIFF' || name(8) !== 'WAVE') return 0;
  for (let at = 12; at + 16 <= view.byteLength;) {
    if (name(at) === 'fmt ') return view.getUint32(at + 12, true);
    const size = view.getUint32(at + 4, true);
    at += 8 + size + size % 2;
  }
  return 0;
}

/**
 * Samples of one channel as libsndfile reads them. Chromium divides the positive ones of 8- and
 * 16-bit audio by 127 and 32767, one less than the negative ones: enough to move a probability by
 * 0.001. Samples of any other audio do not all lie on that grid, and stay.
 */
export function evened(channel) {
  const whole = (value) => Math.abs(value - Math.round(value)) < 0.01;
  for (const top of [127, 32767]) {
    if (channel.every((x) => whole(x > 0 ? x * top : x * (top + 1)))) {
      return channel.map((x) => x > 0 ? Math.round(x * top) / (top + 1) : x);
    }
  }
  return channel;
}

/** Mean of the channels of an AudioBuffer. */
export function mixed(buffer) {
  const waveform = new Float32Array(buffer.length);
  for (let c = 0; c < buffer.numberOfChannels; c++) {
    const channel = evened(buffer.getChannelData(c));
    for (let i = 0; i < waveform.length; i++) waveform[i] += channel[i];
  }
  for (let i = 0; i < waveform.length; i++) waveform[i] /= buffer.numberOfChannels;
  return waveform;
}

/** Where the sound begins and ends: see dslite.audio.sounding. `trim`: frame, hop, db. */
export function sounding(waveform, {frame, hop, db}) {
  const length = waveform.length, half = Math.floor(frame / 2);
  const count = 1 + Math.floor((length + 2 * half - frame) / hop);
  const power = new Float64Array(Math.max(0, count));
  for (let k = 0; k < count; k++) {
    const begin = Math.max(0, k * hop - half), end = Math.min(length, k * hop - half + frame);
    let sum = 0;  // what lies past the ends is zero
    for (let i = begin; i < end; i++) sum += waveform[i] * waveform[i];
    power[k] = Math.max(1e-10, sum / frame);  // librosa's floor of a level: 1e-5, squared
  }
  const least = 10 ** (-db / 10) * power.reduce((a, b) => Math.max(a, b), 0);
  let first = 0, last = count - 1;
  while (first <= last && power[first] <= least) first++;
  while (last >= first && power[last] <= least) last--;
  const begin = first * hop, end = Math.min(length, (last + 1) * hop);
  return end > begin ? [begin, end] : [0, length];
}

/** Where the sound is that is analysed: some samples beside it are kept, `margin`. */
export function trimmed(waveform, {margin, ...how}) {
  const [begin, end] = sounding(waveform, how);
  return [Math.max(0, begin - margin), Math.min(waveform.length, end + margin)];
}

/** First samples of the chunks: every hop, and one that ends with the file. */
export function chunkStarts(length, chunk, hop) {
  const starts = [];
  for (let start = 0; start + chunk <= length; start += hop) starts.push(start);
  if (!starts.length) return [0];
  const last = length - chunk;
  if (starts.at(-1) !== last) starts.push(last);
  return starts;
}

/** One chunk of a waveform; zeros stand in for what lies past its end. */
export function cut(waveform, start, chunk) {
  const found = new Float32Array(chunk);
  found.set(waveform.subarray(start, start + chunk));
  return found;
}

/** Place of the largest number. */
export function largest(values) {
  return values.reduce((best, value, i) => value > values[best] ? i : best, 0);
}

function mean(rows) {
  return Array.from(rows[0], (_, c) => rows.reduce((sum, row) => sum + row[c], 0) / rows.length);
}

/** A file's outputs from its chunks': see dslite.evaluation.fuse. */
export function fuse(outputs, fusion) {
  const means = mean(outputs);
  if (fusion !== 'vote') return means;
  const votes = mean(outputs.map((row) => Array.from(row, (_, c) => c === largest(row) ? 1 : 0)));
  return votes.map((share, c) => (1 - 1e-6) * share + 1e-6 * means[c]);
}

/** Modified Bessel function of the first kind and order zero, by its series. */
function bessel(x) {
  let sum = 1, term = 1;
  for (let k = 1; term > 1e-12 * sum; k++) sum += term *= (x / (2 * k)) ** 2;
  return sum;
}

/**
 * A waveform at another rate, by a Kaiser-windowed sinc that passes 91 % of the lower rate's band,
 * as dslite's soxr does at "very high quality". The browser's own resampling is shorter, and a
 * spectrogram in dB shows what it leaves of the frequencies above.
 */
export function resampled(waveform, from, to) {
  if (from === to) return waveform;
  const divisor = (a, b) => b ? divisor(b, a % b) : a;
  const up = to / divisor(from, to), down = from / divisor(from, to);
  const top = Math.min(1, to / from);  // the lower rate's Nyquist, of the file's
  const pass = 0.913 * top, width = top - pass;
  const attenuation = 170, beta = 0.1102 * (attenuation - 8.7);
  const half = Math.ceil((attenuation - 8) / (2.285 * Math.PI * width) / 2);
  const cutoff = (pass + top) / 2, scale = bessel(beta);
  const kernels = new Map();  // one for each place between two samples
  const kernel = (phase) => {
    const taps = new Float64Array(2 * half);
    for (let k = 0; k < taps.length; k++) {
      const x = k - half + 1 - phase / up, inside = 1 - (x / half) ** 2;
      const sinc = x ? Math.sin(Math.PI * cutoff * x) / (Math.PI * x) : cutoff;
      taps[k] = inside > 0 ? sinc * bessel(beta * Math.sqrt(inside)) / scale : 0;
    }
    return taps;
  };
  const found = new Float32Array(Math.round(waveform.length * to / from));
  for (let n = 0; n < found.length; n++) {
    const whole = Math.floor(n * down / up), phase = n * down - whole * up;
    if (!kernels.has(phase)) kernels.set(phase, kernel(phase));
    const taps = kernels.get(phase), first = whole - half + 1;
    const end = Math.min(taps.length, waveform.length - first);
    let sum = 0;
    for (let k = Math.max(0, -first); k < end; k++) sum += taps[k] * waveform[first + k];
    found[n] = sum;
  }
  return found;
}
