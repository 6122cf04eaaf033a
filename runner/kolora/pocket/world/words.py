"""What the parts of a scene are called, in Chinese and English, several ways each."""

from __future__ import annotations

Words = dict[str, tuple[str, ...]]

STYLE: dict[str, Words] = {
    "zh": {
        "anime": ("二次元", "动漫", "日系动漫", "动漫风格", "卡通"),
        "watercolor": ("水彩画", "水彩", "水彩风格"),
        "crayon": ("蜡笔画", "蜡笔", "蜡笔风格"),
        "papercut": ("剪纸", "剪纸拼贴", "剪纸风格"),
        "pixel": ("像素画", "像素风", "像素风格"),
        "neon": ("霓虹", "赛博朋克", "霓虹风格"),
        "pencil": ("铅笔画", "彩铅", "彩铅风格"),
        "vintage": ("复古", "老照片", "复古风格"),
        "ink": ("水墨画", "水墨", "水墨风格"),
        "porcelain": ("青花瓷", "青花", "青花瓷风格"),
    },
    "en": {
        "anime": ("anime", "anime style", "cartoon", "an anime picture"),
        "watercolor": ("watercolor", "watercolor painting", "in watercolor"),
        "crayon": ("crayon drawing", "crayon", "drawn in crayon"),
        "papercut": ("paper cut", "paper-cut collage", "paper cut style"),
        "pixel": ("pixel art", "pixel", "pixel art style"),
        "neon": ("neon", "cyberpunk", "neon style"),
        "pencil": ("pencil drawing", "colored pencil", "drawn in pencil"),
        "vintage": ("vintage", "an old photo", "vintage style"),
        "ink": ("ink wash", "ink wash painting", "in ink wash style"),
        "porcelain": ("blue and white porcelain", "porcelain", "porcelain style"),
    },
}
CHARACTER: dict[str, Words] = {
    "zh": {
        "girl": ("小女孩", "女孩", "少女", "小姑娘"),
        "boy": ("小男孩", "男孩", "少年"),
        "knight": ("骑士", "年轻的骑士", "小骑士"),
        "princess": ("公主", "小公主"),
        "cat": ("小猫", "猫", "猫咪"),
        "dragon": ("龙", "小龙", "巨龙"),
        "horse": ("马", "小马", "骏马"),
    },
    "en": {
        "girl": ("girl", "little girl", "young girl"),
        "boy": ("boy", "little boy", "young boy"),
        "knight": ("knight", "young knight"),
        "princess": ("princess", "young princess"),
        "cat": ("cat", "little cat", "kitten"),
        "dragon": ("dragon", "little dragon"),
        "horse": ("horse", "pony"),
    },
}
COUNTED = {"cat": "一只", "dragon": "一条", "horse": "一匹"}
COLOUR: dict[str, Words] = {
    "zh": {
        "red": ("红色", "红"),
        "pink": ("粉色", "粉红色"),
        "purple": ("紫色",),
        "blue": ("蓝色",),
        "green": ("绿色",),
        "yellow": ("黄色",),
        "white": ("白色",),
        "black": ("黑色",),
        "brown": ("棕色", "褐色"),
        "golden": ("金色", "金黄色"),
        "silver": ("银色", "银白色"),
        "orange": ("橘色", "橙色"),
        "grey": ("灰色",),
    },
    "en": {
        "red": ("red",),
        "pink": ("pink",),
        "purple": ("purple",),
        "blue": ("blue",),
        "green": ("green",),
        "yellow": ("yellow",),
        "white": ("white",),
        "black": ("black",),
        "brown": ("brown",),
        "golden": ("golden", "blonde"),
        "silver": ("silver",),
        "orange": ("orange",),
        "grey": ("grey", "gray"),
    },
}
HAIR: dict[str, Words] = {
    "zh": {"long": ("长发", "长头发"), "short": ("短发", "短头发")},
    "en": {"long": ("long",), "short": ("short",)},
}
GARMENT: dict[str, Words] = {
    "zh": {
        "dress": ("连衣裙", "裙子", "衣服"),
        "sweater": ("毛衣", "衣服"),
        "coat": ("外套", "大衣", "衣服"),
        "shirt": ("T恤", "上衣", "衣服"),
        "cape": ("披风", "战袍"),
        "gown": ("长裙", "礼服", "裙子"),
    },
    "en": {
        "dress": ("dress", "clothes"),
        "sweater": ("sweater", "clothes"),
        "coat": ("coat", "jacket", "clothes"),
        "shirt": ("shirt", "T-shirt", "clothes"),
        "cape": ("cape", "cloak"),
        "gown": ("gown", "long dress"),
    },
}
PLACE: dict[str, Words] = {
    "zh": {
        "sofa": ("在客厅的沙发前", "在家中的沙发旁", "在家里的客厅", "在客厅沙发上", "在家中沙发上"),
        "balcony": ("在下雨的阳台上", "在雨中的阳台", "在阳台上，外面下着雨", "在阳台，雨天"),
        "crowd": ("在演唱会的观众席", "在演唱会的人群中", "在人山人海的演唱会", "在演唱会现场的观众中"),
        "stage": ("在舞台上", "在聚光灯下的舞台上", "站在舞台中央", "在红色幕布的舞台上"),
        "practice": ("在练习室", "在练习室里", "在音乐练习室", "在排练室"),
        "dressing": ("在化妆间", "在化妆间的镜子前", "在化妆室里"),
        "classroom": ("在教室里", "在教室", "在学校的教室", "在教室的黑板前"),
        "forest": ("在薄雾的森林里", "在森林中，有雾", "在森林里", "在晨雾弥漫的森林"),
        "village": ("在清晨的村庄", "在日出时的村庄", "在村庄，清晨", "在村子里，太阳升起"),
        "cave": ("在有火光的山洞里", "在山洞里的篝火旁", "在山洞中，火光", "在山洞里"),
        "bridge": ("在古桥上", "在古老的石桥上", "在河上的石桥", "在老桥上"),
        "blossom": ("在开满花的山路上", "在山路上，樱花盛开", "在花开的山路", "在樱花盛开的小路上"),
        "bedroom": ("在卧室里", "在卧室的床边", "在卧室", "在卧室，窗外是夜晚"),
        "stars": ("在星空下", "在流星划过的夜空下", "在满天星星的夜晚", "在夜晚的星空下"),
        "beach": ("在海边", "在沙滩上", "在海滩上"),
        "snow": ("在雪地里", "在下雪的山下", "在雪中", "在冬天的雪地"),
        "castle": ("在城堡前", "在城堡外", "在城堡门口"),
        "library": ("在图书馆里", "在图书馆的书架前", "在图书馆"),
    },
    "en": {
        "sofa": (
            "by the sofa at home",
            "in the living room with a sofa",
            "in front of the living room sofa",
            "on the sofa",
        ),
        "balcony": ("on a rainy balcony", "on the balcony in the rain", "on a balcony, raining"),
        "crowd": ("in the crowd at a concert", "in a concert crowd", "among the audience of a concert"),
        "stage": ("on a stage", "on the stage in the spotlight", "on a stage with red curtains"),
        "practice": ("in a practice room", "in the music practice room", "in a rehearsal room"),
        "dressing": ("in a dressing room", "at the mirror of a dressing room", "in front of the dressing room mirror"),
        "classroom": ("in a classroom", "at school in the classroom", "in front of the classroom blackboard"),
        "forest": ("in a misty forest", "in the forest with mist", "in a forest"),
        "village": ("in a village at dawn", "in the village at sunrise", "in a village in the early morning"),
        "cave": ("in a cave with a fire", "by the campfire in a cave", "in a cave"),
        "bridge": ("on an old bridge", "on an old stone bridge", "on a bridge over the river"),
        "blossom": ("on a mountain road with blossom", "on a mountain path with cherry blossom", "under blossom trees"),
        "bedroom": ("in a bedroom", "in the bedroom at night", "beside the bed in a bedroom"),
        "stars": ("under a starry night", "under the starry sky", "at night under a shooting star"),
        "beach": ("on the beach", "at the seaside", "on a sunny beach"),
        "snow": ("in the snow", "on a snowy day", "in a snowy winter landscape"),
        "castle": ("in front of a castle", "outside the castle", "at the castle"),
        "library": ("in a library", "in the library among books", "in front of library shelves"),
    },
}
ACTION: dict[str, Words] = {
    "zh": {
        "stand": ("站着", "站立"),
        "wave": ("挥手", "挥着手", "招手"),
        "cheer": ("举起双手欢呼", "欢呼", "高举双手"),
        "sit": ("无聊地坐着", "坐着，双手托着腮，很无聊", "坐着，百无聊赖", "坐着"),
        "sing": ("拿着麦克风唱歌", "在唱歌", "唱歌", "对着麦克风唱歌"),
        "guitar": ("弹吉他", "弹着吉他", "在弹吉他"),
        "read": ("看书", "在读书", "捧着一本书"),
        "wish": ("闭上眼睛许愿", "双手合十许愿", "闭着眼睛许愿", "许愿"),
        "sleep": ("睡着了", "在睡觉", "睡觉", "躺着睡觉"),
        "walk": ("在走路", "走着", "散步"),
        "fight": ("挥剑战斗", "举着剑战斗", "战斗"),
        "fly": ("飞翔", "在飞", "飞在空中"),
        "fire": ("喷火", "喷出火焰", "在喷火"),
        "run": ("奔跑", "在奔跑", "跑着"),
    },
    "en": {
        "stand": ("standing", "stands"),
        "wave": ("waving", "waving a hand"),
        "cheer": ("cheering", "cheering with both hands up"),
        "sit": ("sitting bored", "sitting, bored, chin in hands", "sitting"),
        "sing": ("singing with a microphone", "singing", "singing into a microphone"),
        "guitar": ("playing the guitar", "playing a guitar"),
        "read": ("reading a book", "reading", "holding a book"),
        "wish": ("making a wish with closed eyes", "wishing with closed eyes", "making a wish"),
        "sleep": ("sleeping", "asleep", "lying asleep"),
        "walk": ("walking", "taking a walk"),
        "fight": ("fighting with a sword", "fighting", "raising a sword to fight"),
        "fly": ("flying", "flying in the air"),
        "fire": ("breathing fire", "spitting fire"),
        "run": ("running", "galloping"),
    },
}
WITH: dict[str, Words] = {
    "zh": {
        "hug": ("拥抱着{}", "抱着{}", "和{}拥抱"),
        "feed": ("在喂{}", "给{}喂食", "喂着{}"),
        "ride": ("骑着{}", "骑在{}上"),
        "fight": ("与{}战斗", "举剑和{}战斗", "挥剑与{}搏斗"),
        "stand": ("和{}在一起", "身边有{}", "和{}站在一起"),
    },
    "en": {
        "hug": ("hugging {}", "giving {} a hug"),
        "feed": ("feeding {}", "giving food to {}"),
        "ride": ("riding {}", "riding on {}"),
        "fight": ("fighting {}", "fighting {} with a sword"),
        "stand": ("with {}", "standing with {}", "next to {}"),
    },
}
EXPRESSION: dict[str, Words] = {
    "zh": {
        "smile": ("微笑", "面带微笑", "开心"),
        "sad": ("伤心地流泪", "哭泣", "难过"),
        "angry": ("生气", "愤怒", "很生气"),
        "surprised": ("惊讶", "吃惊", "很惊讶"),
    },
    "en": {
        "smile": ("smiling", "happy", "with a smile"),
        "sad": ("sad", "crying", "in tears"),
        "angry": ("angry", "looking angry"),
        "surprised": ("surprised", "looking surprised"),
    },
}
FRAMING: dict[str, Words] = {
    "zh": {"full": ("全身", "全身像"), "half": ("半身", "半身像", "上半身")},
    "en": {"full": ("full body", "full-body view"), "half": ("half body", "upper body", "half-body portrait")},
}
PRAISE: dict[str, tuple[str, ...]] = {
    "zh": ("高质量", "精美", "画面清晰", "色彩鲜艳", "杰作"),
    "en": ("high quality", "masterpiece", "clean lines", "vivid colors", "detailed"),
}
FAULT: dict[str, Words] = {
    "zh": {
        "ugly": ("丑陋", "难看"),
        "deformed": ("变形", "畸形", "扭曲"),
        "noisy": ("嘈杂", "噪点"),
        "blurry": ("模糊", "不清晰"),
        "low_contrast": ("低对比度",),
    },
    "en": {
        "ugly": ("ugly",),
        "deformed": ("deformed", "distorted"),
        "noisy": ("noisy", "noise"),
        "blurry": ("blurry", "blurred"),
        "low_contrast": ("low contrast",),
    },
}
POOR: dict[str, tuple[str, ...]] = {"zh": ("低质量", "最差质量"), "en": ("low quality", "worst quality")}
