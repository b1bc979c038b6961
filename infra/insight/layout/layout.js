// Lay out the graph on standard input with ELK, and print it with its coordinates.
import { readFileSync } from "node:fs";
import ELK from "elkjs";

const graph = await new ELK().layout(JSON.parse(readFileSync(0, "utf8")));
process.stdout.write(JSON.stringify(graph));
