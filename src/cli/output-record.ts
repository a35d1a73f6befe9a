import { AuditInvalidError } from '../base/errors.ts';

/** A piece of what the agent wrote, as it was kept (runs/agent-output.ts). */
export interface OutputPiece {
  /** Milliseconds since the agent began. */
  readonly time: number;
  readonly stream: 'stdout' | 'stderr';
  readonly bytes: Buffer;
}

/** Reads the kept output, a line of JSON a piece. Throws `AuditInvalidError` for what is not that. */
export async function* readOutput(chunks: AsyncIterable<Buffer>): AsyncGenerator<OutputPiece> {
  const parts: Buffer[] = [];
  for await (const chunk of chunks) {
    let rest = chunk;
    for (let end = rest.indexOf(0x0a); end !== -1; end = rest.indexOf(0x0a)) {
      yield parsePiece(Buffer.concat([...parts.splice(0), rest.subarray(0, end)]).toString());
      rest = rest.subarray(end + 1);
    }
    if (rest.length > 0) parts.push(rest);
  }
  if (parts.length > 0) yield parsePiece(Buffer.concat(parts).toString());
}

function parsePiece(line: string): OutputPiece {
  try {
    const { t, s, d, b } = JSON.parse(line) as { t: unknown; s: unknown; d?: unknown; b?: unknown };
    if (typeof t === 'number' && (s === 'out' || s === 'err') && typeof (d ?? b) === 'string') {
      const bytes = typeof d === 'string' ? Buffer.from(d) : Buffer.from(b as string, 'base64');
      return { time: t, stream: s === 'out' ? 'stdout' : 'stderr', bytes };
    }
  } catch {
    // said below
  }
  throw new AuditInvalidError('the kept output of the run is not what Cordon writes', {
    remedy: 'cordon audit verify',
  });
}
