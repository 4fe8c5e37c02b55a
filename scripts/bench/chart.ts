/**
 * The chart of docs/benchmarks.md: for each workload a bar of Backstop's rate as a share of PgBouncer's in the same run,
 * and a mark where the aim is. Plain SVG that reads on light and dark pages.
 */
export interface Bar {
  readonly label: string;
  /** 1: as fast as PgBouncer. */
  readonly share: number;
  readonly aim: number | undefined;
}

const [labelWidth, barWidth, rowHeight, top, shareMax] = [210, 470, 26, 46, 1.2];

export function chartSvg(title: string, bars: readonly Bar[]): string {
  const height = top + bars.length * rowHeight + 16;
  const x = (share: number): number => labelWidth + Math.min(share, shareMax) / shareMax * barWidth;
  const rows = bars.flatMap(({ label, share, aim }, index) => {
    const y = top + index * rowHeight;
    const isMet = aim === undefined || share >= aim;
    return [
      text(labelWidth - 10, y + 13, label, 'end'),
      `<rect x="${labelWidth}" y="${y}" width="${(x(share) - labelWidth).toFixed(1)}" height="18" rx="2" fill="${isMet ? '#2f9e6e' : '#d9822b'}"/>`,
      text(x(share) + 8, y + 13, share.toFixed(2), 'start'),
      ...(aim === undefined ? [] : [`<line x1="${x(aim).toFixed(1)}" x2="${x(aim).toFixed(1)}" y1="${y - 3}" y2="${y + 21}" stroke="#c0392b" stroke-width="2"/>`]),
    ];
  });
  const whole = `<line x1="${x(1).toFixed(1)}" x2="${x(1).toFixed(1)}" y1="${top - 8}" y2="${height - 10}" stroke="#888" stroke-dasharray="3 3"/>`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${labelWidth + barWidth + 60}" height="${height}" font-family="system-ui, sans-serif" font-size="12">`,
    `<rect width="100%" height="100%" fill="#ffffff"/>`,
    `<text x="12" y="20" font-size="14" font-weight="600" fill="#222">${title}</text>`,
    text(x(1), 34, 'PgBouncer', 'middle'), whole, ...rows, '</svg>', '',
  ].join('\n');
}

function text(x: number, y: number, label: string, anchor: 'start' | 'middle' | 'end'): string {
  return `<text x="${x.toFixed(1)}" y="${y}" text-anchor="${anchor}" fill="#222">${label}</text>`;
}
