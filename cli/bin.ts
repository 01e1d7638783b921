#!/usr/bin/env -S node --disable-warning=ExperimentalWarning
// The command in a checkout, where Node 26 runs TypeScript as it is. `build` makes the file for everywhere else.
import './main.ts';
