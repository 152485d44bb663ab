// Date (RFC 9110 §6.6.1): who adds it, what an age makes of it (RFC 9111 §4.2.3), and that it stays.

import { askedAgain, expect, expectAnswer, httpDate, optimal, required, reused, stale } from './story.mjs'

const FIELD = 'RFC 9110 §6.6.1'
const AGE = 'RFC 9111 §4.2.3'
const HOUR = 3600
const answer = (date, others = { 'Cache-Control': 'max-age=3600' }) => ({ fields: { ...others, Date: date } })

export default {
  id: 'date',
  needs: ['date-kept'],
  tests: [
    required('date-kept', FIELD, 'a hit has the Date that the origin sent', async story => {
      const date = httpDate(-20)
      const [first, hit] = await twice(story, answer(date))
      expect(first.fields.date === date, `Date: ${first.fields.date} in the first answer, not ${date}`)
      expect(hit.fields.date === date, `Date: ${hit.fields.date}, not ${date}`)
    }, []),
    required('date-missing', FIELD, 'a response without Date gets the time when it was received', async story => {
      const [first] = await twice(story, answer(null))
      const off = Math.abs(Date.parse(first.fields.date) - Date.now())
      expect(off < 60_000, `Date: ${first.fields.date}`)
    }),
    required('date-missing-kept', FIELD, 'and keeps that while it is stored', async story => {
      const [first, hit] = await twice(story, answer(null), 3)
      expect(first.fields.date !== undefined, 'no Date in the first answer', 'setup')
      expect(first.fields.date === hit.fields.date, `Date: ${first.fields.date}, then ${hit.fields.date}`)
      expect(Number(hit.fields.age) >= 2, `Age: ${hit.fields.age}`)
    }),
    optimal('date-missing-expires', 'RFC 9111 §4.2.1', 'without Date, Expires counts from the time of receipt',
      reused(answer(null, { Expires: httpDate(HOUR) }))),
    optimal('date-invalid', FIELD, 'an invalid Date may be taken for the time of receipt', reused(answer('this morning'))),
    required('date-304', 'RFC 9111 §3.2', 'a 304 brings its Date along', async story => {
      const date = httpDate(-20)
      await stale(story, 'max-age=1', { status: 304, ...answer(date) })
      for (const which of ['the validated answer', 'the hit after it']) {
        const response = await story.get()
        expectAnswer(response, 1, 'setup')
        expect(response.fields.date === date, `Date in ${which}: ${response.fields.date}, not ${date}`)
      }
    }),

    // What it says of the age.
    required('date-past', AGE, 'a response is at least as old as its Date', askedAgain(answer(httpDate(-2 * HOUR)))),
    required('date-past-rfc850', 'RFC 9110 §5.6.7', 'also where that is written as in RFC 850', askedAgain(answer(rfc850(-2 * HOUR)))),
    required('date-past-asctime', 'RFC 9110 §5.6.7', 'also where that is written as by asctime', askedAgain(answer(asctime(-2 * HOUR)))),
    required('date-past-told', AGE, 'and tells so', async story => {
      const [, hit] = await twice(story, answer(httpDate(-HOUR / 2)))
      expect(Number(hit.fields.age) >= HOUR / 2, `Age: ${hit.fields.age}`)
    }),
    optimal('date-future', AGE, 'a Date in the future makes no age', reused(answer(httpDate(2 * HOUR)))),
    required('date-expires-past', 'RFC 9111 §4.2.1', 'the lifetime is Expires less Date: over',
      askedAgain(answer(httpDate(-2 * HOUR), { Expires: httpDate(-HOUR) }))),
    optimal('date-expires-future', 'RFC 9111 §4.2.1', "the lifetime is Expires less Date, by the origin's clock alone",
      reused(answer(httpDate(-2 * HOUR), { Expires: httpDate(HOUR) })))
  ]
}

async function twice (story, given, pause = 0) {
  story.origin(given)
  const first = await story.get()
  expectAnswer(first, 1, 'setup')
  await story.seconds(pause)
  const second = await story.get()
  expectAnswer(second, 1, 'setup')
  return [first, second]
}

/** Sunday, 06-Nov-94 08:49:37 GMT */
function rfc850 (seconds) {
  const [, day, month, year, time] = httpDate(seconds).split(' ')
  const weekday = new Date(Date.now() + seconds * 1000).toLocaleString('en', { weekday: 'long', timeZone: 'UTC' })
  return `${weekday}, ${day}-${month}-${year.slice(2)} ${time} GMT`
}

/** Sun Nov  6 08:49:37 1994 */
function asctime (seconds) {
  const [weekday, day, month, year, time] = httpDate(seconds).split(' ')
  return `${weekday.slice(0, 3)} ${month} ${String(Number(day)).padStart(2)} ${time} ${year}`
}
