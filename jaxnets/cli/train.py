import typer
train = typer.Typer()
@train.callback()
def f(): ...
