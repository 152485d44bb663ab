// Which configuration is in force, and what became of the last edit.

import { list, within } from "./page.js";
import { count, moment } from "./words.js";

export function showConfiguration({ config, started }) {
  const { generation, loaded, last_reload: last, needs_restart: waiting } = config;
  list(within("configuration", ".facts"), [
    ["File", config.file],
    ["In force since", `${moment(loaded)}, as number ${count(generation)} since the start at ${moment(started)}`],
    ["Last edit", last === null ? "none since the start" : `${last.result} at ${moment(last.at)}`],
    ["Takes a restart", ...(waiting.length > 0 ? waiting : ["nothing"])],
  ]);
}
