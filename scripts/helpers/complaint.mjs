// A failure that the person at the terminal can act on: told in one line, without a stack trace.

export class Complaint extends Error {}
