// Numbers and sentences for people.

export function shortCount(count) {
  for (const [size, unit] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (count >= size) return `${threeDigits(count / size)} ${unit}`;
  }
  return String(count);
}

/** Bytes as "12.3 MB". */
export function shortBytes(count) {
  return count < 1e3 ? `${count} bytes` : `${shortCount(count)}B`;
}

const threeDigits = (value) => value.toFixed(value < 9.995 ? 2 : value < 99.95 ? 1 : 0);

/** Seconds as "12.3 ms", or without the unit. */
export function milliseconds(seconds, unit = true) {
  const number = seconds > 0 && seconds < 5e-6 ? "<0.01" : threeDigits(1e3 * seconds);
  return unit ? `${number} ms` : number;
}

export function percent(part, total) {
  if (!total || !part) return "–";
  const share = (100 * part) / total;
  if (share < 0.1) return "<0.1 %";
  return share < 99.95 ? `${share.toFixed(1)} %` : "100 %";
}

export const plural = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;

export function everyStep(period) {
  return period === 1 ? "every step" : `every ${period} steps`;
}
