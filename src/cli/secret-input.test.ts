import { PassThrough } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { CancelledError, UsageError } from '../base/errors.ts';
import type { Context } from './context.ts';
import { OutputStreams } from './output.ts';
import { readSecret, type Terminal } from './secret-input.ts';

/** What was read of what was typed or piped, what was shown, and whether the terminal echoed meanwhile. */
async function input(pieces: readonly string[], tty = false, interactive = tty, signal = new AbortController().signal) {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const modes: boolean[] = [];
  const stdin: Terminal = {
    isTTY: tty,
    setRawMode: (on) => modes.push(on),
    async *[Symbol.asyncIterator]() {
      for (const piece of pieces) yield Buffer.from(piece);
    },
  };
  const context = { streams: new OutputStreams(stdout, stderr, {}), interactive, signal } as Context;
  const result = await readSecret(context, 'NPM_TOKEN', stdin).catch((error: unknown) => error as Error);
  const value = result instanceof Error ? null : result.reveal().toString();
  return { value, error: result, modes, shown: `${stdout.read() ?? ''}${stderr.read() ?? ''}` };
}

describe('piped', () => {
  test('all of it but one line end', async () => {
    expect((await input(['the-va', 'lue-1\n'])).value).toBe('the-value-1');
    expect((await input(['the-value-1\r\n'])).value).toBe('the-value-1');
    expect((await input(['line one\nline two\n\n'])).value).toBe('line one\nline two\n');
  });

  test('nothing, too little and too much are refused', async () => {
    for (const pieces of [[], ['\n'], ['1234567\n'], ['x'.repeat(65_537)], ['x'.repeat(70_000), 'y']]) {
      expect((await input(pieces)).error).toBeInstanceOf(UsageError);
    }
  });
});

describe('on a terminal', () => {
  test('asks, and shows nothing of what is typed', async () => {
    const { value, shown, modes } = await input(['the-', 'valuX\x7fe-1', '\r', 'more'], true);
    expect(value).toBe('the-value-1');
    expect(shown).toBe('value of NPM_TOKEN (not shown): \n');
    expect(modes).toEqual([true, false]);
  });

  test('a whole character goes back, or all of them', async () => {
    expect((await input(['the-value-ü\x7f1\r'], true)).value).toBe('the-value-1');
    expect((await input(['wrong-wrong\x15the-value-1\n'], true)).value).toBe('the-value-1');
    expect((await input(['\x7f\x7fthe-value-1\x04'], true)).value).toBe('the-value-1');
  });

  test('Ctrl-C cancels, and the terminal is as it was', async () => {
    const { error, modes } = await input(['the-val\x03'], true);
    expect(error).toBeInstanceOf(CancelledError);
    expect(modes).toEqual([true, false]);
  });

  test('a signal at the prompt cancels too, however much was typed', async () => {
    const controller = new AbortController();
    const [stdout, stderr] = [new PassThrough(), new PassThrough()];
    const modes: boolean[] = [];
    let destroyed = false;
    const terminal: Terminal = {
      isTTY: true,
      setRawMode: (on) => modes.push(on),
      destroy: () => (destroyed = true),
      async *[Symbol.asyncIterator]() {
        yield Buffer.from('the-val');
        await new Promise(() => setImmediate(() => controller.abort()));
      },
    };
    const context = { streams: new OutputStreams(stdout, stderr, {}), interactive: true, signal: controller.signal };
    await expect(readSecret(context as Context, 'NPM_TOKEN', terminal)).rejects.toThrow(CancelledError);
    expect(modes).toEqual([true, false]);
    expect(destroyed).toBe(true);
  });

  test('where the question could not be seen, it is not asked', async () => {
    expect((await input(['the-value-1\r'], true, false)).error).toBeInstanceOf(UsageError);
  });
});
