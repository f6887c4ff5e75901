/** A short sound, made on the spot: two notes, quiet. */

const NOTES = [660, 880];
const SECONDS = 0.12;
const VOLUME = 0.05;

export function chime() {
  const audio = new AudioContext();
  for (const [nth, frequency] of NOTES.entries()) {
    const at = audio.currentTime + nth * SECONDS;
    const note = new OscillatorNode(audio, { frequency });
    const volume = new GainNode(audio, { gain: 0 });
    volume.gain.setValueAtTime(VOLUME, at);
    volume.gain.exponentialRampToValueAtTime(VOLUME / 100, at + SECONDS);
    note.connect(volume).connect(audio.destination);
    note.start(at);
    note.stop(at + SECONDS);
    note.onended = () => nth === NOTES.length - 1 && audio.close();
  }
}
