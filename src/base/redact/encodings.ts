/**
 * The forms in which a value is met in output, logs and requests. Each is a byte string that stands there whole and is made of
 * the value alone, so that finding it is finding the value. None is shorter than the value.
 *
 * What this cannot know is a form that somebody chose in order to hide the value (reversed, encrypted, a character a line):
 * redaction keeps secrets from being shown by accident, and is no boundary.
 */
export function encodingsOf(value: Buffer): Buffer[] {
  const text = value.toString('utf8');
  const forms: (Buffer | string)[] = [value, value.toString('hex'), value.toString('hex').toUpperCase()];
  forms.push(...base64Forms(value));
  // In what is no UTF-8 these would be of other bytes.
  if (Buffer.from(text, 'utf8').equals(value)) forms.push(...textForms(text));
  forms.push(...urlForms(value));
  const unique = new Map(
    forms.map((form) => Buffer.from(form as string)).map((form) => [form.toString('latin1'), form]),
  );
  return [...unique.values()];
}

/**
 * Base64 of something that has the value in it: depending on how many bytes stand before it, one of three. Characters at both
 * ends which also encode bits of the neighbours are left out, so up to 4 bits of the first and last byte may stay.
 */
function base64Forms(value: Buffer): string[] {
  const standard = [0, 1, 2].map((before) => {
    const encoded = Buffer.concat([Buffer.alloc(before), value]).toString('base64');
    return encoded.slice(Math.ceil((before * 8) / 6), Math.floor(((before + value.length) * 8) / 6));
  });
  const whole = value.toString('base64');
  const forms = [...standard, whole, whole.replace(/=+$/, '')];
  return forms.flatMap((form) => [form, form.replaceAll('+', '-').replaceAll('/', '_'), escapeBase64(form)]);
}

/** Base64 in the query of a URL. */
function escapeBase64(form: string): string {
  return form.replaceAll('+', '%2B').replaceAll('/', '%2F').replaceAll('=', '%3D');
}

function textForms(text: string): string[] {
  const json = JSON.stringify(text).slice(1, -1);
  const ascii = json.replace(/[\u0080-\uffff]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
  return [
    json,
    ascii,
    json.replaceAll('/', '\\/'),
    JSON.stringify(json).slice(1, -1), // JSON in a string of JSON
    text.replace(/\r?\n/g, '\r\n'), // what a terminal makes of lines
    text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;'),
  ];
}

const UNRESERVED = /[A-Za-z0-9_.~-]/;
/** What `encodeURIComponent` leaves as it is beside the unreserved characters of RFC 3986 §2.3. */
const LEFT_BY_SCRIPTS = /[!'()*]/;

function urlForms(value: Buffer): string[] {
  const encode = (plain: (character: string) => string | null, upper: boolean) => {
    let out = '';
    for (const byte of value) {
      const hex = byte.toString(16).padStart(2, '0');
      out += plain(String.fromCharCode(byte)) ?? `%${upper ? hex.toUpperCase() : hex}`;
    }
    return out;
  };
  const strict = (c: string) => (UNRESERVED.test(c) ? c : null);
  const scripts = (c: string) => (UNRESERVED.test(c) || LEFT_BY_SCRIPTS.test(c) ? c : null);
  const form = (c: string) => (c === ' ' ? '+' : strict(c));
  const path = (c: string) => (UNRESERVED.test(c) || /[!$&'()*+,;=:@/]/.test(c) ? c : null);
  return [strict, scripts, form, path].flatMap((plain) => [encode(plain, true), encode(plain, false)]);
}
