/** What the system threw, told shortly: people know `ENOENT` and look it up. */
export function systemCode(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';
}
