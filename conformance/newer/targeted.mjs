// RFC 9213: fields that tell one kind of cache what Cache-Control tells all of them. Sidecache heeds
// Sidecache-Cache-Control, then CDN-Cache-Control.

import {
  askedAgain, expect, expectAnswer, expectError, httpDate, optimal, required, reused
} from './story.mjs'

const OWN = 'Sidecache-Cache-Control'
const CDN = 'CDN-Cache-Control'
const CC = 'Cache-Control'
const FOREIGN = 'Example-Cache-Control'
const fields = given => ({ fields: given })

export default {
  id: 'targeted',
  needs: ['targeted-max-age'],
  tests: [
    optimal('targeted-max-age', 'RFC 9213 §2.2', 'max-age alone is a lifetime',
      reused(fields({ [CDN]: 'max-age=60' })), []),

    // Which field governs.
    optimal('targeted-over-no-store', 'RFC 9213 §2.2', 'Cache-Control is ignored, even its no-store',
      reused(fields({ [CDN]: 'max-age=60', [CC]: 'no-store' }))),
    required('targeted-over-max-age', 'RFC 9213 §2.2', 'Cache-Control is ignored, even its longer max-age',
      askedAgain(fields({ [CDN]: 'max-age=0', [CC]: 'max-age=60' }))),
    optimal('targeted-over-expires-past', 'RFC 9213 §2.2', 'Expires in the past is ignored',
      reused(fields({ [CDN]: 'max-age=60', Expires: httpDate(-3600) }))),
    required('targeted-over-expires-later', 'RFC 9213 §2.2', 'Expires in the future is ignored',
      askedAgain(fields({ [CDN]: 'no-cache', Expires: httpDate(3600) }))),
    required('targeted-governs-without-lifetime', 'RFC 9213 §2.2', 'a valid field governs also where it states no lifetime',
      askedAgain(fields({ [CDN]: 'an-extension', [CC]: 'max-age=60' }))),
    required('targeted-own-no-store', 'RFC 9213 §2.2', 'the first field of the target list governs: its no-store',
      askedAgain(fields({ [CDN]: 'max-age=60', [OWN]: 'no-store' }))),
    optimal('targeted-own-max-age', 'RFC 9213 §2.2', 'the first field of the target list governs: its max-age',
      reused(fields({ [CDN]: 'no-store', [OWN]: 'max-age=60' }))),
    optimal('targeted-foreign-no-store', 'RFC 9213 §2.2', "another cache's no-store changes nothing",
      reused(fields({ [FOREIGN]: 'no-store', [CC]: 'max-age=60' }))),
    required('targeted-foreign-max-age', 'RFC 9213 §2.2', "another cache's max-age changes nothing",
      askedAgain(fields({ [FOREIGN]: 'max-age=60' }))),

    // What it says.
    required('targeted-no-store', 'RFC 9213 §2.2', 'no-store is obeyed',
      askedAgain(fields({ [CDN]: 'no-store', [CC]: 'max-age=60' }))),
    required('targeted-private', 'RFC 9213 §2.2', 'private is obeyed',
      askedAgain(fields({ [CDN]: 'max-age=60, private', [CC]: 'max-age=60' }))),
    required('targeted-no-cache', 'RFC 9213 §2.2', 'no-cache is obeyed, and makes max-age inoperative',
      askedAgain(fields({ [CDN]: 'max-age=60, no-cache', [CC]: 'max-age=60' }))),
    required('targeted-must-revalidate', 'RFC 9213 §2.2', 'must-revalidate is obeyed: no stale answer when the origin is away',
      async story => {
        story.origin(fields({ [CDN]: 'max-age=1, must-revalidate', [CC]: 'stale-if-error=60' }), { close: true })
        expectAnswer(await story.get(), 1, 'setup')
        await story.seconds(3)
        expectError(await story.get())
      }),
    optimal('targeted-s-maxage', 'RFC 9213 §2.2', 'other directives should count as in Cache-Control: s-maxage',
      reused(fields({ [CDN]: 'max-age=0, s-maxage=60' }))),
    optimal('targeted-must-understand', 'RFC 9213 §2.2', 'other directives should count as in Cache-Control: must-understand',
      reused(fields({ [CDN]: 'no-store, must-understand, max-age=60' }))),
    optimal('targeted-stale-while-revalidate', 'RFC 9213 §2.2', 'other directives should count as in Cache-Control: stale-while-revalidate',
      async story => {
        story.origin(fields({ [CDN]: 'max-age=1, stale-while-revalidate=60' }))
        expectAnswer(await story.get(), 1, 'setup')
        await story.seconds(3)
        expectAnswer(await story.get(), 1)
      }),
    optimal('targeted-extension', 'RFC 9213 §2.2', 'directives that are not known are ignored',
      reused(fields({ [CDN]: 'an-extension="a, b", max-age=60, another' }))),

    // How it is written: a Dictionary of structured fields.
    optimal('targeted-parameters', 'RFC 9213 §2.1', 'parameters are ignored',
      reused(fields({ [CDN]: 'max-age=60;no-store;x="y"' }))),
    optimal('targeted-repeated-longer', 'RFC 8941 §3.2', 'of a repeated member the last one counts, though it be longer',
      reused(fields({ [CDN]: 'max-age=0, max-age=60' }))),
    required('targeted-repeated-shorter', 'RFC 8941 §3.2', 'of a repeated member the last one counts',
      askedAgain(fields({ [CDN]: 'max-age=60, max-age=0' }))),
    required('targeted-lines', 'RFC 8941 §4.2', 'several lines are one Dictionary',
      askedAgain(fields({ [CDN]: ['max-age=60', 'no-store'] }))),
    optimal('targeted-empty', 'RFC 9213 §2.1', 'an empty field is as good as none',
      reused(fields({ [CDN]: '', [CC]: 'max-age=60' }))),
    optimal('targeted-invalid-capitals', 'RFC 9213 §2.1', 'a field that is no Dictionary is ignored: capitals',
      reused(fields({ [CDN]: 'Max-Age=0', [CC]: 'max-age=60' }))),
    required('targeted-invalid-comma', 'RFC 9213 §2.1', 'a field that is no Dictionary is ignored: a comma at its end',
      askedAgain(fields({ [CDN]: 'max-age=60,', [CC]: 'no-store' }))),
    required('targeted-invalid-line', 'RFC 9213 §2.1', 'a field that is no Dictionary is ignored as a whole: one bad line',
      askedAgain(fields({ [CDN]: ['max-age=60', '&'], [CC]: 'no-store' }))),
    required('targeted-invalid-own', 'RFC 9213 §2.2', 'after an invalid field, the next of the target list governs',
      askedAgain(fields({ [OWN]: 'max-age=', [CDN]: 'no-store', [CC]: 'max-age=60' }))),
    required('targeted-type-string', 'RFC 9213 §2.1', 'max-age that is a String is no lifetime',
      askedAgain(fields({ [CDN]: 'max-age="60"' }))),
    required('targeted-type-decimal', 'RFC 9213 §2.1', 'max-age that is a Decimal is no lifetime',
      askedAgain(fields({ [CDN]: 'max-age=60.0' }))),
    required('targeted-type-boolean', 'RFC 9213 §2.1', 'max-age that is a Boolean is no lifetime',
      askedAgain(fields({ [CDN]: 'max-age' }))),

    // Age, and what the client sees.
    required('targeted-age', 'RFC 9213 §2.3', 'Age counts against its max-age',
      askedAgain(fields({ [CDN]: 'max-age=60', [CC]: 'max-age=3600', Age: '90' }))),
    required('targeted-age-told', 'RFC 9213 §2.3', 'hits tell their Age, for whoever goes by Cache-Control',
      async story => {
        const response = await hit(story, { [CDN]: 'max-age=3600', [CC]: 'max-age=1', Age: '30' })
        expect(Number(response.fields.age) >= 30, `Age: ${response.fields.age}`)
      }),
    optimal('targeted-passed-on', 'RFC 9213 §3', 'CDN-Cache-Control is passed on, for a CDN in front',
      seen(CDN, 'max-age=60', 'max-age=60')),
    required('targeted-foreign-passed-on', 'RFC 9213 §2.2', "another cache's field is passed on",
      seen(FOREIGN, 'no-store', 'no-store')),
    optimal('targeted-own-removed', 'RFC 9213 §3', 'Sidecache-Cache-Control, known to be used by nobody downstream, is removed',
      seen(OWN, 'max-age=60', undefined))
  ]
}

async function hit (story, given) {
  story.origin(fields(given))
  expectAnswer(await story.get(), 1, 'setup')
  const response = await story.get()
  expectAnswer(response, 1, 'setup')
  return response
}

/** The field as the origin sent it, in the answer that is stored and in the hit. */
function seen (name, sent, wanted) {
  return async story => {
    story.origin(fields({ [CC]: 'max-age=60', [name]: sent }))
    for (const which of ['the first answer', 'the hit']) {
      const response = await story.get()
      expectAnswer(response, 1, 'setup')
      const value = response.fields[name.toLowerCase()]
      expect(value === wanted, `${name} in ${which} is ${value}, not ${wanted}`)
    }
  }
}
