def main(cfg):
    print("x")
