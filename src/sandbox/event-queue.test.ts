import { expect, test } from 'vitest';
import { EventQueue } from './event-queue.ts';

async function readAll<T>(queue: EventQueue<T>): Promise<T[]> {
  const seen: T[] = [];
  for await (const item of queue) seen.push(item);
  return seen;
}

test('hands over everything in order, from before the reader came and after, and ends when closed', async () => {
  const queue = new EventQueue<number>();
  queue.push(1);
  queue.push(2);
  const reading = readAll(queue);
  await Promise.resolve();
  queue.push(3);
  setImmediate(() => {
    queue.push(4);
    queue.push(5);
    queue.close();
    queue.push(6); // too late: the reader may have gone
  });
  expect(await reading).toEqual([1, 2, 3, 4, 5]);
});

test('what was waiting when it was closed is still read; then it is empty for ever', async () => {
  const queue = new EventQueue<string>();
  queue.push('a');
  queue.close();
  queue.close();
  expect(await readAll(queue)).toEqual(['a']);
  expect(await readAll(queue)).toEqual([]);
});

test('what comes while the reader works is not lost', async () => {
  const queue = new EventQueue<number>();
  queue.push(0);
  const seen: number[] = [];
  for await (const item of queue) {
    seen.push(item);
    if (item < 50) queue.push(item + 1);
    else queue.close();
    if (item % 7 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  expect(seen).toEqual(Array.from({ length: 51 }, (_, i) => i));
});
