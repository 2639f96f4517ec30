// From an audio file to chunks and from their outputs to a file's, number for number as
// dslite.audio and dslite.evaluation do it. No function here touches the page.

/** The rate that a WAV, FLAC, Ogg, MP3, MP4 or WebM file says it has, in Hz; 0: another kind. */
export function storedRate(content) {
  const view = new DataView(content);
  try {
    return rateOf(view, (at) => String.fromCharCode(...new Uint8Array(content, at, 4)));
  } catch (error) {
    if (error instanceof RangeError) return 0;  // the file ends before its header does
    throw error;
  }
}

/** `storedRate` of a view; `text` gives the four characters at a place. */
function rateOf(view, text) {
  const flac = (at) => view.getUint32(at + 18) >>> 12;  // the 20 bits after sizes of blocks, frames
  if (text(0) === 'fLaC') return flac(0);
  if (text(0) === 'RIFF' && text(8) === 'WAVE') {
    let at = 12;
    for (let size; text(at) !== 'fmt '; at += 8 + size + size % 2) size = view.getUint32(at + 4, true);
    return view.getUint32(at + 12, true);
  }
  if (text(0) === 'OggS') {
    const at = 27 + view.getUint8(26);  // the first packet
    if (text(at) === 'Opus') return 48000;
    return text(at) === '\x01vor' ? view.getUint32(at + 12, true) : text(at + 9) === 'fLaC' ? flac(at + 9) : 0;
  }
  if (text(4) === 'ftyp') return timescale(view, text);
  if (view.getUint32(0) === 0x1a45dfa3) return 48000;  // WebM, which holds Opus
  let at = 0;
  while (text(at).startsWith('ID3')) {  // tags before an MP3, of a size in bytes of seven bits
    at += 10 + [6, 7, 8, 9].reduce((size, k) => 128 * size + view.getUint8(at + k), 0);
  }
  const head = view.getUint32(at), version = head >>> 19 & 3, rate = head >>> 10 & 3;
  if (head >>> 21 !== 0x7ff || (head >>> 17 & 3) !== 1 || version === 1 || rate === 3) return 0;
  return [44100, 48000, 32000][rate] >> {3: 0, 2: 1, 0: 2}[version];
}

/** Time units a second of an MP4's sound, which are its samples; 0: it has none. */
function timescale(view, text) {
  const inside = (spans, name) => spans.flatMap(([at, end]) => {
    const boxes = [];
    for (let size; at + 8 <= end; at += size) {
      const wide = view.getUint32(at) === 1;
      size = wide ? Number(view.getBigUint64(at + 8)) : view.getUint32(at) || end - at;
      if (size < 8) break;
      if (text(at + 4) === name) boxes.push([at + (wide ? 16 : 8), Math.min(end, at + size)]);
    }
    return boxes;
  });
  const media = ['moov', 'trak', 'mdia'].reduce(inside, [[0, view.byteLength]]);
  const sound = media.filter((span) => inside([span], 'hdlr').some(([at]) => text(at + 8) === 'soun'));
  const [at] = inside(sound, 'mdhd')[0] ?? [];
  return at ? view.getUint32(at + (view.getUint8(at) ? 20 : 12)) : 0;
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

/** Variance of samples. */
function variance(samples) {
  let sum = 0, squares = 0;
  for (const x of samples) {
    sum += x;
    squares += x * x;
  }
  return squares / samples.length - (sum / samples.length) ** 2;
}

/** Mean of an AudioBuffer's channels; of those that cancel each other the loudest: dslite.audio.Balance. */
export function mixed(buffer) {
  const channels = Array.from({length: buffer.numberOfChannels}, (_, c) => evened(buffer.getChannelData(c)));
  const waveform = new Float32Array(buffer.length);
  for (const channel of channels) {
    for (let i = 0; i < waveform.length; i++) waveform[i] += channel[i];
  }
  for (let i = 0; i < waveform.length; i++) waveform[i] /= channels.length;
  const powers = channels.map(variance), total = powers.reduce((a, b) => a + b);
  const cancelled = total / channels.length > 1e-8 && channels.length ** 2 * variance(waveform) < total / 4;
  return cancelled ? channels[largest(powers)] : waveform;
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
 * A waveform at another rate, by the Kaiser-windowed sinc of soxr's "very high quality", with which
 * dslite resamples: fitted to its impulse response. The browser's own resampling is shorter, and a
 * spectrogram in dB shows what it leaves of the frequencies above.
 */
export function resampled(waveform, from, to) {
  if (from === to) return waveform;
  const divisor = (a, b) => b ? divisor(b, a % b) : a;
  const up = to / divisor(from, to), down = from / divisor(from, to);
  const top = Math.min(1, to / from);  // the lower rate's Nyquist, of the file's
  const cutoff = 0.95566 * top, beta = 18.43, scale = bessel(beta);
  const reach = 133 / top, half = Math.ceil(reach);  // of the window, in samples of the file
  const kernels = new Map();  // one for each place between two samples
  const kernel = (phase) => {
    const taps = new Float64Array(2 * half);
    for (let k = 0; k < taps.length; k++) {
      const x = k - half + 1 - phase / up, inside = 1 - (x / reach) ** 2;
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
