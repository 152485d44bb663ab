// must-understand (RFC 9111 §5.2.2.3): store only if what the status means for caches is known; then
// no-store, which stands beside it for caches that do not know the directive, should be ignored.

import { askedAgain, optimal, required, reused } from './story.mjs'

const SECTION = 'RFC 9111 §5.2.2.3'
const answer = (status, control) => ({ status, fields: { 'Cache-Control': control } })

export default {
  id: 'must-understand',
  needs: ['must-understand-200'],
  tests: [
    ...[200, 301, 404, 410].map(status =>
      optimal(`must-understand-${status}`, SECTION, `with no-store, a ${status} is stored`,
        reused(answer(status, 'must-understand, no-store, max-age=60')), [])),
    optimal('must-understand-order', SECTION, 'the order does not matter',
      reused(answer(200, 'no-store, max-age=60, Must-Understand'))),
    optimal('must-understand-lines', SECTION, 'nor do the lines',
      reused(answer(200, ['must-understand, max-age=60', 'no-store']))),
    required('must-understand-unknown', SECTION, 'with no-store, a status that nobody knows is not stored',
      askedAgain(answer(599, 'must-understand, no-store, max-age=60'))),
    required('must-understand-unknown-alone', 'RFC 9111 §3', 'nor is it without no-store',
      askedAgain(answer(299, 'must-understand, max-age=60'))),
    required('must-understand-private', 'RFC 9111 §3', 'private stands beside it',
      askedAgain(answer(200, 'must-understand, no-store, private, max-age=60'))),
    required('must-understand-no-cache', 'RFC 9111 §5.2.2.4', 'no-cache stands beside it',
      askedAgain(answer(200, 'must-understand, no-store, no-cache, max-age=60'))),
    required('must-understand-missing', 'RFC 9111 §5.2.2.5', 'without it, no-store is obeyed',
      askedAgain(answer(200, 'no-store, max-age=60')))
  ]
}
