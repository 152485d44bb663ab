// Our own tests, of what the suite's release is too old for; prints what came of each, as JSON, or of one
// test what was sent and received.
//
// Prints the address of its origin server, then takes that of the proxy from standard input.
//
// node run.mjs [TEST_ID]

import { createInterface } from 'node:readline'

import age from './age.mjs'
import date from './date.mjs'
import interim from './interim.mjs'
import mustUnderstand from './must_understand.mjs'
import { listen } from './origin.mjs'
import stale from './stale.mjs'
import { outcomeOf, Story } from './story.mjs'
import targeted from './targeted.mjs'

const AT_ONCE = 24 // most tests only wait; all at once would measure how the machine bears that

const only = process.argv[2]
const all = [targeted, interim, stale, mustUnderstand, age, date].flatMap(group =>
  group.tests.map(test => ({ ...test, group: group.id, needs: test.needs ?? group.needs })))
const chosen = all.filter(test => !only || test.id === only)
if (chosen.length === 0) throw new Error(`no test is called ${only}`)

console.log(`http://127.0.0.1:${await listen()}`)
const { value: base } = await createInterface({ input: process.stdin })[Symbol.asyncIterator]().next()
if (!base) process.exit(1) // whoever started this has given up

const lines = []
const outcomes = new Map()
const waiting = chosen.values()
await Promise.all(Array.from({ length: AT_ONCE }, async () => {
  for (const test of waiting) outcomes.set(test.id, await judge(test))
}))
const told = only ? [JSON.stringify(outcomes.get(only)), ...lines].join('\n') + '\n' : JSON.stringify(chosen.map(result))
process.stdout.write(told, () => process.exit(0)) // kept connections would hold it open

async function judge ({ story }) {
  try {
    await story(new Story(base, only && log))
    return { outcome: 'pass', message: '' }
  } catch (error) {
    return { outcome: outcomeOf(error), message: error.message }
  }
}

/** A test whose dependency did not pass proves nothing, whatever it did. */
function result ({ id, section, name, group, kind, needs }) {
  const proves = needed({ id, needs }).every(passes)
  const came = proves ? outcomes.get(id) : { outcome: 'dependency', message: '' }
  return { id, name: `${name} (${section})`, group, kind, needs, ...came }
}

function passes (test) {
  return outcomes.get(test.id).outcome === 'pass' && needed(test).every(passes)
}

function needed ({ id, needs }) {
  return all.filter(test => needs.includes(test.id) && test.id !== id)
}

function log (what, first, rawFields) {
  lines.push(`\n=== ${what}\n${first}`)
  for (let at = 0; at < rawFields.length; at += 2) lines.push(`    ${rawFields[at]}: ${rawFields[at + 1]}`)
}
