// Age (RFC 9111 §5.1) at its edges: of a list the first member counts, what is invalid is ignored, and
// what is larger than any number is old.

import { askedAgain, expect, expectAnswer, optimal, required, reused } from './story.mjs'

const HOUR = 'max-age=3600'
const SECTION = 'RFC 9111 §5.1'
const answer = (age, control = HOUR) => ({ fields: { 'Cache-Control': control, Age: age } })

export default {
  id: 'age',
  needs: ['age-within'],
  tests: [
    optimal('age-within', 'RFC 9111 §4.2', 'below the lifetime it is fresh', reused(answer('1800')), []),
    required('age-beyond', 'RFC 9111 §4.2', 'beyond the lifetime it is stale', askedAgain(answer('7200'))),
    required('age-equal', 'RFC 9111 §4.2', 'at the lifetime it is stale', askedAgain(answer('3600'))),
    required('age-grows', 'RFC 9111 §4.2.3', 'it grows while the response is stored',
      askedAgain(answer('58', 'max-age=60'), { after: 3 })),
    required('age-told', SECTION, 'a hit tells one Age, counted on from that of the origin', async story => {
      story.origin(answer('1800'))
      expectAnswer(await story.get(), 1, 'setup')
      await story.seconds(3)
      const response = await story.get()
      expectAnswer(response, 1, 'setup')
      const lines = response.lines('age')
      const counted = lines.length === 1 && /^\d+$/.test(lines[0]) && lines[0] >= 1802 && lines[0] < 1900
      expect(counted, `Age: ${lines.join(' | ')}`)
    }),

    ...[
      ['word', 'old'], ['negative', '-7200'], ['decimal', '7200.5'], ['parameter', '7200;a=b'], ['quoted', '"7200"']
    ].map(([name, age]) =>
      optimal(`age-invalid-${name}`, SECTION, `what is no number is ignored: ${age}`, reused(answer(age)))),

    optimal('age-list-fresh', SECTION, 'of a list the first member counts: fresh', reused(answer('0, 7200'))),
    optimal('age-lines-fresh', SECTION, 'of several lines the first counts: fresh', reused(answer(['0', '7200']))),
    optimal('age-list-invalid', SECTION, 'of a list the first member counts: an invalid one is ignored', reused(answer('old, 7200'))),
    required('age-list-stale', SECTION, 'of a list the first member counts: stale', askedAgain(answer('7200, 0'))),
    required('age-lines-stale', SECTION, 'of several lines the first counts: stale', askedAgain(answer(['7200', '0']))),

    ...[['31', '2147483648'], ['64', '18446744073709551617'], ['133', `1${'0'.repeat(40)}`]].map(([bits, age]) =>
      required(`age-huge-${bits}`, 'RFC 9111 §1.2.2', `2^${bits} and more is stale, not an overflow`, askedAgain(answer(age))))
  ]
}
