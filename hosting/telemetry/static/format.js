// Numbers as a person reads them.

const SIZES = ["B", "KiB", "MiB", "GiB"];

/** Three significant digits at most, grouped: 1,234 and 12.3 and 0.045. */
function plain(value) {
  if (value === 0) return "0";
  const digits = Math.max(0, Math.min(3, 2 - Math.floor(Math.log10(Math.abs(value)))));
  return value.toLocaleString("en", { maximumFractionDigits: digits });
}

function bytes(value) {
  const step = value < 1 ? 0 : Math.min(SIZES.length - 1, Math.floor(Math.log2(value) / 10));
  return `${plain(value / 1024 ** step)} ${SIZES[step]}`;
}

function seconds(value) {
  return value < 1 ? `${plain(value * 1000)} ms` : `${plain(value)} s`;
}

/** A value with its unit; a dash where there is none. */
export function format(value, unit) {
  if (value === null || value === undefined) return "–";
  if (unit === "B") return bytes(value);
  if (unit === "s") return seconds(value);
  return `${plain(value)}${unit}`;
}

/** A time span: "3 d 4 h", "5 min 6 s". */
export function span(total) {
  const parts = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const found = [];
  let rest = Math.floor(total);
  for (const [size, name] of parts) {
    if (rest >= size || (size === 1 && found.length === 0)) found.push(`${Math.floor(rest / size)} ${name}`);
    rest %= size;
  }
  return found.slice(0, 2).join(" ");
}

/** Where an axis ends: the next of 1, 2 and 5 times a power of ten, or of two for bytes. */
export function ceiling(value, unit) {
  if (unit === "B") return Math.max(1024, 2 ** Math.ceil(Math.log2(value || 1)));
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  const digit = [1, 2, 5, 10].find((each) => each * power >= value * (1 - 1e-9));
  return digit * power;
}
