// Runs beside the page, in the audio thread: hands on what the microphone hears, channels mixed,
// some blocks at a time. Its output stays silent.
class Microphone extends AudioWorkletProcessor {
  block = new Float32Array(1024);
  filled = 0;

  process([channels]) {
    if (!channels.length) return true;  // nothing is connected yet
    for (let i = 0; i < channels[0].length; i++) {
      let sum = 0;
      for (const channel of channels) sum += channel[i];
      this.block[this.filled++] = sum / channels.length;
      if (this.filled === this.block.length) {
        this.port.postMessage(this.block);
        this.filled = 0;
      }
    }
    return true;
  }
}

registerProcessor('microphone', Microphone);
