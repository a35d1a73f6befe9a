export { COLOUR, ColouredRedaction } from './coloured.ts';
export { encodingsOf } from './encodings.ts';
export { Redaction } from './redaction.ts';
export { LONGEST_SECRET, Redactor, type RedactorOptions, SHORTEST_SECRET } from './redactor.ts';
export { credentialIn, findCredential } from './shapes.ts';
