/** Lines of an agent's event stream whose values are of every shape but the right one: none of them throws, live or in `runs logs`. */
import { expect, test } from 'vitest';
import type { AgentStep } from '../../src/agents/agent.ts';
import { profiles } from '../../src/agents/profiles/index.ts';
import { AgentStream } from '../../src/agents/stream.ts';
import { transcript } from '../../src/agents/transcript.ts';

const deep = `${'['.repeat(100_000)}${']'.repeat(100_000)}`;
/** JSON, as text. */
const VALUES = [
  'null',
  '0',
  '-1e999',
  '1e308',
  '9007199254740991',
  '"x"',
  '[]',
  '[null]',
  '{}',
  '{"toString":1,"valueOf":1,"toJSON":1}',
  '{"__proto__":1}',
  deep,
  `{"a":${deep}}`,
];
/** What agents say, with `§` where a value stands. */
const LINES = [
  '{"type":"assistant","message":{"content":§}}',
  '{"type":"assistant","message":{"content":[{"type":"tool_use","id":§,"name":"x","input":§}]}}',
  '{"type":"user","message":{"content":[{"type":"tool_result","tool_use_id":"x","content":§,"is_error":§}]}}',
  '{"type":"result","subtype":§,"is_error":true,"result":§,"error":§,"usage":§}',
  '{"type":"result","subtype":"x","is_error":true,"error":{"message":§},"usage":{"input_tokens":§}}',
  '{"type":"item.started","item":{"id":"x","type":"command_execution","command":§,"status":§}}',
  '{"type":"item.completed","item":{"id":"x","type":"command_execution","command":"x","aggregated_output":§,"exit_code":§}}',
  '{"type":"item.completed","item":{"id":"x","type":"mcp_tool_call","server":§,"tool":§,"arguments":§,"result":§,"error":§}}',
  '{"type":"item.completed","item":{"id":"x","type":"file_change","changes":§}}',
  '{"type":"item.completed","item":{"id":"x","type":"todo_list","items":§}}',
  '{"type":"turn.failed","error":§}',
  '{"type":"turn.completed","usage":§}',
  '{"type":"tool_use","part":{"callID":"x","tool":§,"state":{"status":"completed","input":§,"output":§,"error":§}}}',
  '{"type":"tool_use","tool_name":"x","tool_id":"x","parameters":§}',
  '{"type":"tool_result","tool_id":"x","status":"error","output":§,"error":§}',
  '{"type":"error","error":{"name":§,"data":{"message":§}},"message":§}',
  '{"type":"message","role":"assistant","content":§}',
  '{"type":"message_end","message":{"role":"assistant","content":[{"type":"toolCall","id":"x","name":"x","arguments":§}],"usage":§,"errorMessage":§}}',
  '{"type":"tool_execution_start","toolCallId":"x","toolName":"x","args":§}',
  '{"type":"tool_execution_end","toolCallId":"x","toolName":"x","result":{"content":§},"isError":§}',
  '{"type":"step_finish","part":{"tokens":§,"cost":§,"reason":§}}',
  '{"type":"result","usage":{"input_tokens":§,"output_tokens":§,"cache_read_input_tokens":§,"cache_creation_input_tokens":§}}',
  '{"type":"turn.completed","usage":{"input_tokens":§,"cached_input_tokens":§,"output_tokens":§}}',
  '{"type":"step_finish","part":{"tokens":{"input":§,"output":§,"reasoning":§,"cache":{"read":§,"write":§}}}}',
  '{"type":"result","status":"success","stats":{"input_tokens":§,"output_tokens":§,"total_tokens":§}}',
  '{"type":"message_end","message":{"role":"assistant","content":[],"usage":{"input":§,"output":§,"cacheRead":§,"cacheWrite":§}}}',
  '{"type":§}',
];

test.each(Object.keys(profiles) as (keyof typeof profiles)[])(
  '%s',
  async (name) => {
    const profile = await profiles[name]();
    for (const line of LINES) {
      for (const value of VALUES) {
        const steps: AgentStep[] = [];
        const stream = new AgentStream(profile.parser(), { onStep: (step) => steps.push(step), onOther: () => {} });
        stream.write(Buffer.from(`${line.replaceAll('§', value)}\n`));
        stream.end();
        for (const step of steps) if (step.kind === 'usage') expect(step.input + step.output).toBeLessThan(1e11);
        for (const step of steps) for (const shown of transcript(step)) expect(typeof shown).toBe('string');
      }
    }
  },
  60_000,
);
