import * as z from 'zod';
import { line, type PlanStep, success, type Tool, type ToolResult, type Workbench } from './tool.ts';

const schema = z.strictObject({
  steps: z
    .array(z.strictObject({ step: line(500).min(1), status: z.enum(['pending', 'active', 'done']).default('pending') }))
    .min(1)
    .max(50)
    .describe('the whole plan, in order'),
});
type Input = z.output<typeof schema>;

export const plan: Tool = {
  name: 'plan',
  description:
    'Writes down the steps of the work, or how far they are. Use it for work of several steps; it stays in view.',
  schema,
  brief: ({ steps }: Input) => {
    const done = steps.filter(({ status }) => status === 'done').length;
    const active = steps.find(({ status }) => status === 'active');
    return `${done} of ${steps.length} done${active === undefined ? '' : `; ${active.step}`}`;
  },
  async run({ steps }: Input, bench: Workbench): Promise<ToolResult> {
    bench.plan = steps;
    return success(planText(steps));
  },
};

const MARKS = { pending: ' ', active: '>', done: 'x' } as const;

export function planText(steps: readonly PlanStep[]): string {
  return steps.map(({ step, status }, i) => `[${MARKS[status]}] ${i + 1}. ${step}`).join('\n');
}
