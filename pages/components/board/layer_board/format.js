// Numbers and sentences for people.

export function shortCount(count) {
  for (const [size, unit] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (count >= size) return `${threeDigits(count / size)} ${unit}`;
  }
  return String(count);
}

const threeDigits = (value) => value.toFixed(value < 9.995 ? 2 : value < 99.95 ? 1 : 0);

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
