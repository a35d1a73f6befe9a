import * as z from 'zod';
import { line, type Tool, type ToolResult } from './tool.ts';

const schema = z.strictObject({
  summary: line(20_000).min(1).describe('what was done and how it was checked, in a few sentences'),
  success: z.boolean().default(true).describe('false when the task could not be done'),
});
type Input = z.output<typeof schema>;

export const finish: Tool = {
  name: 'finish',
  description: 'Ends the work. Call it once, alone, when the task is done and checked, or cannot be done.',
  schema,
  brief: ({ success }: Input) => (success ? 'done' : 'could not be done'),
  run: async ({ summary, success }: Input): Promise<ToolResult> => ({
    ok: true,
    text: 'the work has ended',
    finished: { summary, success },
  }),
};
