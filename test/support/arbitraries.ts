import fc from 'fast-check'

/** Text of any UTF-16 code units: control characters, lone surrogates and all. */
export const anyText = (maxLength = 40): fc.Arbitrary<string> =>
  fc.array(fc.oneof(fc.nat(0x7f), fc.nat(0xffff), fc.integer({ min: 0xd800, max: 0xdfff })), { maxLength })
    .map((units) => String.fromCharCode(...units))
