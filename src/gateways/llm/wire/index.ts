import { chat } from './chat.ts';
import { gemini } from './gemini.ts';
import { messages } from './messages.ts';
import { responses } from './responses.ts';
import type { Wire, WireName } from './wire.ts';

/** One line for each protocol. */
export const wires: Readonly<Record<WireName, Wire>> = { chat, responses, messages, gemini };
