"""The one exception that a person can act on."""


class UserError(ValueError):
    """Something in the parameters, the files or the machine that the user can put right.

    Its message is one line: where, what was got, what is allowed, what to do. A stage prints it
    without a traceback.
    """
