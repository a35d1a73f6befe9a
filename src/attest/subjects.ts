import { decodeBundle } from './bundle.ts';
import { ShapeError } from './shape.ts';
import { decodeStatement } from './statement.ts';

/** Whose proof this claims to be; nothing of it is believed yet. */
export function subjectsOf(bytes: Buffer): readonly string[] {
  try {
    const { payload } = decodeBundle(bytes).envelope;
    return decodeStatement(Buffer.from(payload, 'base64')).commits.map(({ commit }) => commit);
  } catch (error) {
    if (error instanceof ShapeError) return [];
    throw error;
  }
}
