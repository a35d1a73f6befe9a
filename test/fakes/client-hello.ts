/** A ClientHello made by hand, with what no library would send. */
export interface HelloOptions {
  readonly names?: readonly string[];
  readonly extensions?: readonly (readonly [number, Buffer])[];
  /** Bytes of each record that carries it; one record when left out. */
  readonly recordSize?: number;
  readonly nameType?: number;
}

const u16 = (value: number) => Buffer.from([value >> 8, value & 255]);
const vector16 = (content: Buffer) => Buffer.concat([u16(content.length), content]);

export function serverNames(names: readonly string[], type = 0): Buffer {
  return vector16(
    Buffer.concat(names.map((name) => Buffer.concat([Buffer.from([type]), vector16(Buffer.from(name))]))),
  );
}

export function clientHello(options: HelloOptions = {}): Buffer {
  const extensions = [
    ...(options.names === undefined ? [] : [[0, serverNames(options.names, options.nameType)] as const]),
    ...(options.extensions ?? []),
  ];
  const body = Buffer.concat([
    Buffer.from([3, 3]),
    Buffer.alloc(32, 7),
    Buffer.from([0]),
    vector16(Buffer.from([0x13, 0x01])),
    Buffer.from([1, 0]),
    vector16(Buffer.concat(extensions.map(([type, content]) => Buffer.concat([u16(type), vector16(content)])))),
  ]);
  const message = Buffer.concat([Buffer.from([1, 0]), u16(body.length), body]);
  const size = options.recordSize ?? message.length;
  const records: Buffer[] = [];
  for (let at = 0; at < message.length; at += size) {
    records.push(Buffer.concat([Buffer.from([22, 3, 1]), vector16(message.subarray(at, at + size))]));
  }
  return Buffer.concat(records);
}
