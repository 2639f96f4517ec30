// Mel spectrograms, one above the other, with their axes, low frequencies at the bottom.

const MARGIN = {left: 48, right: 14, top: 8, bottom: 34};  // for the labels, CSS pixels
const GAP = 8;  // between two
const HERTZ = [100, 200, 500, 1000, 2000, 4000, 8000, 16000];

/** Height of a frequency, 0 (bottom) to 1 (top), by the centres of the bands; else undefined. */
function height(hz, centres) {
  const above = centres.findIndex((centre) => centre >= hz);
  if (above < 1) return above === 0 && centres[0] === hz ? 0.5 / centres.length : undefined;
  const [low, high] = [centres[above - 1], centres[above]];
  return (above - 0.5 + (hz - low) / (high - low)) / centres.length;
}

/** Distance of ticks: about `most` of them on an axis of some length. */
function step(length, most) {
  const rough = length / most, power = 10 ** Math.floor(Math.log10(rough));
  return power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
}

/** Pixels of a Mel spectrogram, uint8 [bands, frames] with the lowest band first. */
function pixels(mel, bands, colours) {
  const frames = mel.length / bands;
  const image = new ImageData(frames, bands);
  for (let band = 0; band < bands; band++) {
    for (let frame = 0; frame < frames; frame++) {
      const at = 4 * ((bands - 1 - band) * frames + frame);
      image.data.set(colours[mel[band * frames + frame]], at);
      image.data[at + 3] = 255;
    }
  }
  const small = new OffscreenCanvas(frames, bands);
  small.getContext('2d').putImageData(image, 0, 0);
  return small;
}

/** Draw panels of a chunk that lies between two times, in seconds. */
export function draw(canvas, mel, panels, [from, to], unit) {
  const scale = window.devicePixelRatio || 1;
  const {clientWidth: width, clientHeight: tall} = canvas;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(tall * scale);
  const context = canvas.getContext('2d');
  context.scale(scale, scale);
  const wide = width - MARGIN.left - MARGIN.right, bottom = tall - MARGIN.bottom;
  const high = (bottom - MARGIN.top - GAP * (panels.length - 1)) / panels.length;
  context.imageSmoothingEnabled = false;

  const style = getComputedStyle(canvas);
  context.fillStyle = context.strokeStyle = style.color;
  context.font = `12px ${style.fontFamily}`;
  context.textAlign = 'right';
  context.textBaseline = 'middle';
  panels.forEach(({mel_hz: centres, colours}, i) => {
    const top = MARGIN.top + i * (high + GAP), size = mel.length / panels.length;
    const values = mel.subarray(i * size, (i + 1) * size);
    context.drawImage(pixels(values, centres.length, colours), MARGIN.left, top, wide, high);
    let free = Infinity;  // so high that no label hides the one before
    for (const hz of HERTZ) {
      const up = height(hz, centres);
      const y = top + high * (1 - up);
      if (up === undefined || y > free) continue;
      free = y - 14;
      context.fillRect(MARGIN.left - 4, y, 4, 1);
      context.fillText(hz < 1000 ? hz : `${hz / 1000}k`, MARGIN.left - 7, y);
    }
  });
  context.save();
  context.translate(9, (MARGIN.top + bottom) / 2);
  context.rotate(-Math.PI / 2);
  context.textAlign = 'center';
  context.fillText('Hz', 0, 0);
  context.restore();

  context.textAlign = 'center';
  context.textBaseline = 'top';
  const apart = step(to - from, Math.max(2, wide / 70));
  const digits = Math.max(0, -Math.floor(Math.log10(apart) + 1e-9));
  for (let k = Math.ceil(from / apart - 1e-9); k * apart <= to + 1e-9; k++) {
    const x = MARGIN.left + wide * (k * apart - from) / (to - from);
    context.fillRect(x, bottom, 1, 4);
    context.fillText((k * apart).toFixed(digits).replace('-', '−'), x, bottom + 6);
  }
  context.fillText(unit, MARGIN.left + wide / 2, bottom + 20);
}
